// Command gencommands writes table.go: what a Redis server says of its own commands.
//
// It asks the server at -addr or, without it, one that it starts itself from the redis-server on PATH. Run it through
// go generate, in internal/replay, after an upgrade of Redis.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/replay/commandtable"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gencommands: ")
	addr := flag.String("addr", "", "address of the server to ask (default: start redis-server from PATH)")
	out := flag.String("o", "table.go", "file to write")
	flag.Parse()
	if err := run(*addr, *out); err != nil {
		log.Fatal(err)
	}
}

func run(addr, out string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if addr == "" {
		own, stop, err := start()
		if err != nil {
			return err
		}
		defer stop()
		addr = own
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, MaxRetries: 50})
	defer rdb.Close()

	_, src, err := commandtable.Generate(ctx, rdb)
	if err != nil {
		return err
	}
	return os.WriteFile(out, src, 0o644)
}

// start runs a server of its own until stop.
func start() (addr string, stop func(), err error) {
	// The port is free when it is chosen; the server takes it a moment later.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", os.TempDir())
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	return addr, func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed: its error is no news
	}, nil
}
