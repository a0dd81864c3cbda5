package multidb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
)

// An application that has a client adds the hook to it. Here, the active database dies.
func Example() {
	// Two servers inside the program stand for yours, so that this runs anywhere.
	east, west := miniredis.NewMiniRedis(), miniredis.NewMiniRedis()
	if err := errors.Join(east.Start(), west.Start()); err != nil {
		log.Fatal(err)
	}
	defer west.Close()

	ctx := context.Background()
	hook, err := multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Weight: 1.0, URL: "redis://" + east.Addr()},
			{Name: "west", Weight: 0.5, URL: "redis://" + west.Addr()},
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer hook.Close()

	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()}) // the client that you have
	defer rdb.Close()
	rdb.AddHook(hook)

	err = rdb.Set(ctx, "greeting", "hello", 0).Err()
	fmt.Println(hook.Active(), err)

	east.Close()
	err = rdb.Set(ctx, "greeting", "hello again", 0).Err()
	fmt.Println(hook.Active(), err)
	// Output:
	// east <nil>
	// west <nil>
}

// New reports everything that is wrong with the options at once.
func ExampleNew() {
	_, err := multidb.New(context.Background(), multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", URL: "redis://east:6379"},
			{Name: "west", Weight: -2, URL: "redis://west:6379"},
		},
		Breaker: multidb.Breaker{Successes: -1},
	})
	fmt.Println(err)
	// Output:
	// multidb: options: Databases[1].Weight = -2: must be > 0 and finite (0 is the default, 1)
	// Breaker.Successes = -1: must be > 0 (0 is the default)
}

// Attach is for clients that may have connections already, and says which clients cannot be routed.
func ExampleHook_Attach() {
	east, west := startRedis(), startRedis()
	defer east.Close()
	defer west.Close()
	hook := newHook(east, west)
	defer hook.Close()

	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), MinIdleConns: 5})
	defer rdb.Close()
	fmt.Println(hook.Attach(rdb))

	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{east.Addr()}})
	defer cluster.Close()
	fmt.Println(hook.Attach(cluster))
	// Output:
	// <nil>
	// multidb: Attach: the client is a *redis.ClusterClient and the databases are single ones; use a *redis.Client, or give each Database a Cluster
}

// A switch by hand asks the database first, and holds until it is released or the database fails.
func ExampleHook_SetActive() {
	ctx := context.Background()
	east, west := startRedis(), startRedis()
	defer east.Close()
	defer west.Close()
	hook := newHook(east, west)
	defer hook.Close()

	if err := hook.SetActive(ctx, "west"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(hook.Active(), "is active, held:", hook.Stats().Held)

	hook.Release() // from here on the heaviest is chosen again
	fmt.Println(hook.SetActive(ctx, "north"))
	// Output:
	// west is active, held: west
	// multidb: unknown database "north" (known: ["east" "west"])
}

// What was sent and not answered is not run again if that could apply it twice. The error says so.
func ExampleCommandError() {
	ctx := context.Background()
	east, west := startRedis(), startRedis()
	defer east.Close()
	defer west.Close()
	hook := newHook(east, west)
	defer hook.Close()
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(hook)

	loseReplies(east, "INCR", 1)
	err := rdb.Incr(ctx, "visits").Err()

	var failed *multidb.CommandError
	if errors.As(err, &failed) && failed.Sent {
		fmt.Printf("nobody but %s knows whether this visit was counted\n", failed.Database)
	}
	fmt.Println(errors.Is(err, io.EOF), multidb.SafeToRetry(err))
	// Output:
	// nobody but east knows whether this visit was counted
	// true false
}

// SafeToRetry tells whether a command was certainly not executed.
func ExampleSafeToRetry() {
	ctx := context.Background()
	east, west := startRedis(), startRedis()
	hook := newHook(east, west)
	defer hook.Close()
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(hook)

	east.Close()
	west.Close()
	err := rdb.Incr(ctx, "visits").Err()
	fmt.Println(errors.Is(err, multidb.ErrNoDatabase), multidb.SafeToRetry(err))
	// Output: true true
}

// A script that is known to be harmless when run twice may be run again.
func ExampleWithReplay() {
	ctx := context.Background()
	east, west := startRedis(), startRedis()
	defer east.Close()
	defer west.Close()
	hook := newHook(east, west)
	defer hook.Close()
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(hook)

	loseReplies(east, "EVAL", 1)
	script := `return redis.call("SET", KEYS[1], ARGV[1])` // an absolute value
	ctx = multidb.WithReplay(ctx, multidb.ReplayAccumulating)
	fmt.Println(rdb.Eval(ctx, script, []string{"price"}, 42).Result())
	// Output: OK <nil>
}

// Events come in order, from one goroutine; Close delivers what is left.
func ExampleEvents() {
	ctx := context.Background()
	east, west := startRedis(), startRedis()
	defer east.Close()
	defer west.Close()
	hook, err := multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Weight: 1.0, URL: "redis://" + east.Addr()},
			{Name: "west", Weight: 0.5, URL: "redis://" + west.Addr()},
		},
		Events: multidb.Events{
			OnSwitch: func(s multidb.Switch) {
				fmt.Printf("%s -> %s, reason %s, planned %t\n", s.From, s.To, s.Reason, s.Planned)
			},
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}

	_ = hook.SetActive(ctx, "west")
	_ = hook.SetActive(ctx, "east")
	_ = hook.Close()
	// Output:
	// east -> west, reason manual, planned true
	// west -> east, reason manual, planned true
}

// Stats is a snapshot for a dashboard or a metrics collector.
func ExampleHook_Stats() {
	east, west := startRedis(), startRedis()
	defer east.Close()
	defer west.Close()
	hook := newHook(east, west)
	defer hook.Close()

	stats := hook.Stats()
	for _, db := range stats.Databases {
		fmt.Printf("%s weight %.1f breaker %s active %t\n", db.Name, db.Weight, db.Breaker, db.Name == stats.Active)
	}
	// Output:
	// east weight 1.0 breaker closed active true
	// west weight 0.5 breaker closed active false
}

// near is a strategy: databases of one region first, the heaviest within it.
type near struct{ region string }

func (n near) Choose(usable []multidb.Candidate) string {
	var here []multidb.Candidate
	for _, c := range usable {
		if strings.HasPrefix(c.Name, n.region) {
			here = append(here, c)
		}
	}
	if len(here) == 0 {
		here = usable
	}
	return multidb.HighestWeight{}.Choose(here)
}

// A strategy of your own replaces the weights, or refines them.
func ExampleStrategy() {
	a, b, c := startRedis(), startRedis(), startRedis()
	defer a.Close()
	defer b.Close()
	defer c.Close()
	hook, err := multidb.New(context.Background(), multidb.Options{
		Databases: []multidb.Database{
			{Name: "us-1", Weight: 3, URL: "redis://" + a.Addr()},
			{Name: "eu-1", Weight: 1, URL: "redis://" + b.Addr()},
			{Name: "eu-2", Weight: 2, URL: "redis://" + c.Addr()},
		},
		Strategy: near{region: "eu"},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer hook.Close()
	fmt.Println(hook.Active())
	// Output: eu-2
}

// startRedis starts a server inside the program.
func startRedis() *miniredis.Miniredis {
	m, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	return m
}

// newHook makes a hook for two databases, the first one preferred.
func newHook(east, west *miniredis.Miniredis) *multidb.Hook {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	hook, err := multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Weight: 1.0, URL: "redis://" + east.Addr()},
			{Name: "west", Weight: 0.5, URL: "redis://" + west.Addr()},
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	return hook
}

// loseReplies makes a server drop the connection on the first n commands of a name instead of answering.
func loseReplies(m *miniredis.Miniredis, name string, n int64) {
	var left atomic.Int64
	left.Store(n)
	m.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd != name || left.Add(-1) < 0 {
			return false
		}
		c.Close()
		return true
	})
}
