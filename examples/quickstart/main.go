// Quickstart is the program of the README: a client, a hook over two databases, and a counter to watch.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redishook/multidb"
)

func main() {
	rdb := redis.NewClient(&redis.Options{}) // the client that you have; from now on the hook says where it dials
	defer rdb.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	hook, err := multidb.New(ctx, multidb.Options{Databases: []multidb.Database{
		{Name: "east", Weight: 1.0, URL: os.Getenv("EAST")}, // redis://user:password@host:6379/0
		{Name: "west", Weight: 0.5, URL: os.Getenv("WEST")}, // in use while east is away
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer hook.Close()
	rdb.AddHook(hook)

	for range time.Tick(time.Second) {
		n, err := rdb.Incr(context.Background(), "visits").Result()
		fmt.Println(hook.Active(), n, err)
	}
}
