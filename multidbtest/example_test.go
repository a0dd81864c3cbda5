package multidbtest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/multidbtest"
)

// What an application sees when the active database executes a command and dies before it answers. In a test, NewPair takes
// the place of Open, and closes by itself.
func Example() {
	pair, err := multidbtest.Open(multidbtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer pair.Close()
	ctx := context.Background()

	pair.East.DieAfter("INCR")
	err = pair.Client.Incr(ctx, "orders").Err()
	fmt.Println("safe to run again:", multidb.SafeToRetry(err))
	fmt.Println("executed on east:", pair.East.Executed("INCR"))

	err = pair.Client.Set(ctx, "greeting", "hello", 0).Err()
	fmt.Println(pair.Hook.Active(), pair.West.Get("greeting"), err)
	// Output:
	// safe to run again: false
	// executed on east: 1
	// west hello <nil>
}
