package pubsubwrap_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/pubsubwrap"
)

// connect stands for what an application has: a client with the hook over two databases. These are real servers, because
// the stand-ins for tests know no shard channels.
func connect() (rdb *redis.Client, hook *multidb.Hook, end func()) {
	ctx := context.Background()
	east, err1 := redistest.Run(ctx, redistest.Config{})
	west, err2 := redistest.Run(ctx, redistest.Config{})
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	hook, err := multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Weight: 1.0, Options: east.Options()},
			{Name: "west", Weight: 0.5, Options: west.Options()},
		},
		Initial: multidb.InitialAll,
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	rdb = redis.NewClient(&redis.Options{Addr: east.Addr()})
	rdb.AddHook(hook)
	return rdb, hook, func() { _ = rdb.Close(); _ = hook.Close(); _ = east.Close(); _ = west.Close() }
}

// Messages one by one, in a loop of one's own.
func ExampleSubscriber_Receive() {
	rdb, hook, end := connect()
	defer end()
	ctx := context.Background()

	sub, err := pubsubwrap.Subscribe(ctx, rdb, "test-channel")
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	rdb.Publish(ctx, "test-channel", "before")
	if err := hook.SetActive(ctx, "west"); err != nil {
		log.Fatal(err)
	}
	rdb.Publish(ctx, "test-channel", "after")

	for received := 0; received < 2; {
		e, err := sub.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		switch {
		case e.Message != nil:
			received++
			fmt.Println(e.Message.Payload)
		case e.Switched != nil:
			fmt.Println(e.Switched.From, "to", e.Switched.To, "with a gap of", e.Switched.Gap)
		case e.Err != nil:
			fmt.Println(e.Err)
		}
	}
	// Output:
	// before
	// east to west with a gap of 0s
	// after
}

// A handler in the background. It stops with its context, and can be waited for.
func ExampleSubscriber_Run() {
	rdb, _, end := connect()
	defer end()
	ctx, stop := context.WithCancel(context.Background())

	sub, err := pubsubwrap.New(rdb, pubsubwrap.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	count := 0
	all := make(chan struct{})
	handler := func(context.Context, *redis.Message) {
		if count++; count == 10 {
			close(all)
		}
	}
	if err := sub.Handle(ctx, handler, "test-channel"); err != nil {
		log.Fatal(err)
	}
	var background sync.WaitGroup
	background.Go(func() { _ = sub.Run(ctx, nil) })

	for range 10 {
		rdb.Publish(ctx, "test-channel", `{"message": "test"}`)
	}
	<-all
	stop()
	background.Wait()
	fmt.Println(count)
	// Output: 10
}

// Messages of shard channels one by one.
func ExampleSSubscribe() {
	rdb, _, end := connect()
	defer end()
	ctx := context.Background()

	sub, err := pubsubwrap.SSubscribe(ctx, rdb, "test-channel")
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	rdb.SPublish(ctx, "test-channel", "sharded")
	message, err := sub.ReceiveMessage(ctx)
	fmt.Println(message.Payload, err)
	// Output: sharded <nil>
}

// A handler of a shard channel in the background.
func ExampleSubscriber_SHandle() {
	rdb, _, end := connect()
	defer end()
	ctx, stop := context.WithCancel(context.Background())

	sub, err := pubsubwrap.New(rdb, pubsubwrap.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	payloads := make(chan string)
	handler := func(_ context.Context, m *redis.Message) { payloads <- m.Payload }
	if err := sub.SHandle(ctx, handler, "test-channel"); err != nil {
		log.Fatal(err)
	}
	var background sync.WaitGroup
	background.Go(func() { _ = sub.Run(ctx, nil) })

	for i := range 3 {
		rdb.SPublish(ctx, "test-channel", i)
		fmt.Println(<-payloads)
	}
	stop()
	background.Wait()
	// Output:
	// 0
	// 1
	// 2
}
