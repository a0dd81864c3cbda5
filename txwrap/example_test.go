package txwrap_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/txwrap"
)

// connect stands for what an application has: a client with the hook over two databases, here inside the program.
func connect() (rdb *redis.Client, hook *multidb.Hook, end func()) {
	east, west := miniredis.NewMiniRedis(), miniredis.NewMiniRedis()
	if err := errors.Join(east.Start(), west.Start()); err != nil {
		log.Fatal(err)
	}
	hook, err := multidb.New(context.Background(), multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Weight: 1.0, URL: "redis://" + east.Addr()},
			{Name: "west", Weight: 0.5, URL: "redis://" + west.Addr()},
		},
		Initial: multidb.InitialAll,
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	rdb = redis.NewClient(&redis.Options{Addr: east.Addr()})
	rdb.AddHook(hook)
	return rdb, hook, func() { _ = rdb.Close(); _ = hook.Close(); east.Close(); west.Close() }
}

// A function with the keys to watch. It runs again because another client was faster, as it would on the other database
// after a switch.
func ExampleWatch() {
	rdb, hook, end := connect()
	defer end()
	ctx := context.Background()

	var value *redis.StringCmd
	err := txwrap.Watch(ctx, rdb, func(tx *txwrap.Tx) error {
		fmt.Println("attempt", tx.Attempt(), "on", tx.Database())
		if tx.Attempt() == 1 {
			// Another client is faster.
			rdb.Set(ctx, "key1", "theirs", 0)
		}
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, "key1", "value1", 0)
			value = pipe.Get(ctx, "key1")
			return nil
		})
		return err
	}, "key1")
	fmt.Println(value.Val(), err, hook.Active())
	// Output:
	// attempt 1 on east
	// attempt 2 on east
	// value1 <nil> east
}

// Without keys, MULTI and EXEC only keep the commands together.
func ExampleTxPipelined() {
	rdb, _, end := connect()
	defer end()
	ctx := context.Background()

	cmds, err := txwrap.TxPipelined(ctx, rdb, func(pipe *txwrap.Pipe) error {
		pipe.Set(ctx, "key1", "value1", 0)
		pipe.Get(ctx, "key1")
		return nil
	})
	for _, cmd := range cmds {
		fmt.Println(cmd)
	}
	fmt.Println(err)
	// Output:
	// set key1 value1: OK
	// get key1: value1
	// <nil>
}

// What to do when nobody knows whether the transaction was executed is for the application to say: here the record that
// it has written inside the transaction will tell.
func ExampleUnansweredError() {
	transfer := func(ctx context.Context, rdb *redis.Client, id string) error {
		_, err := txwrap.TxPipelined(ctx, rdb, func(pipe *txwrap.Pipe) error {
			pipe.IncrBy(ctx, "from", -10)
			pipe.IncrBy(ctx, "to", 10)
			pipe.Set(ctx, "transfer:"+id, "done", 0)
			return nil
		})
		var unanswered *txwrap.UnansweredError
		if errors.As(err, &unanswered) {
			log.Printf("look for transfer:%s on %s", id, unanswered.Database)
		}
		return err
	}

	rdb, _, end := connect()
	defer end()
	fmt.Println(transfer(context.Background(), rdb, "4711"))
	// Output: <nil>
}
