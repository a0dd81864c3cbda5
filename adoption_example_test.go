package multidb_test

import (
	"context"
	"fmt"
	"log"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/multidbtest"
)

// One connection string, as it stands in an environment variable.
func ExampleParseOptions() {
	opt, err := multidb.ParseOptions("redis://east:6379?name=east,rediss://user:secret@west:6380?name=west&weight=0.5")
	if err != nil {
		log.Fatal(err)
	}
	for _, db := range opt.Databases {
		fmt.Println(db.Name, db.Weight)
	}
	// Output:
	// east 0
	// west 0.5
}

// An increment that the application can undo or tell apart may be run twice: its caller hears nothing of a crash.
func ExampleIdempotent() {
	pair, err := multidbtest.Open(multidbtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer pair.Close()

	pair.East.DieAfter("INCR")
	err = pair.Client.Incr(multidb.Idempotent(context.Background()), "visits").Err()
	fmt.Println(pair.Hook.Active(), err)
	// Output: west <nil>
}

// A readiness probe.
func ExampleHook_Ready() {
	pair, err := multidbtest.Open(multidbtest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer pair.Close()
	fmt.Println(pair.Hook.Ready())
	// Output: <nil>
}
