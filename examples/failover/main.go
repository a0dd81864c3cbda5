// Command failover shows what happens to an application when it loses its active Redis database: a live timeline of one
// hooked *redis.Client under load, while a database is killed, comes back, and is returned to.
//
//	go run ./examples/failover
//
// It needs nothing installed: it starts two redis-server processes if there is a redis-server on PATH, and two servers
// inside the program (miniredis) if not. With -addrs it runs the same load against databases that are there, and kills
// nothing:
//
//	go run ./examples/failover -addrs localhost:6379,redis://user:password@localhost:6380/1
//
// It can show other faults than a crash, serve the console of the hook, and draw what it has seen:
//
//	go run ./examples/failover -scenario pausewrites -http localhost:8080 -svg failover.svg
//
// With -cluster the databases are two Redis Clusters of redis-server processes, and the client is a *redis.ClusterClient: a
// master dies, which is no switch, and then the whole cluster:
//
//	go run ./examples/failover -cluster
//
// While it runs, the name (or the number) of a database and Enter switches to it, "r" and Enter ends that choice, and
// Ctrl-C ends the program early. -switch-at 5s switches without a terminal. -help lists the rest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"
)

func main() {
	// go-redis reports each connection it loses to its own logger; here the timeline says it better.
	logging.Disable()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first Ctrl-C ends the demo cleanly, the second one at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

// run is the program. It ends when the duration is over or ctx ends; both print the summary and return nil. If ctx is
// cancelled before the load runs, there is nothing to sum up, and what that broke off is no error.
func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	cfg, err := parseFlags(args, stdout)
	if err != nil {
		return err
	}
	f, err := startFleet(ctx, &cfg)
	if err != nil {
		return notBegun(ctx, err, stdout)
	}
	d := newDemo(cfg, f, stdout)
	if err := d.connect(ctx); err != nil {
		return errors.Join(notBegun(ctx, err, stdout), f.close())
	}
	return errors.Join(d.run(ctx, stdin), f.close())
}

// notBegun judges an error of the start. After Ctrl-C it says no more than what was broken off; a deadline is nobody's wish,
// and what was waited for until then did not come.
func notBegun(ctx context.Context, err error, stdout io.Writer) error {
	if !errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	_, err = fmt.Fprintln(stdout, "ended early, before there was any load to sum up")
	return err
}

// config is what the flags say.
type config struct {
	addrs     []string
	duration  time.Duration
	switchAt  time.Duration
	grace     time.Duration
	every     time.Duration
	pause     time.Duration
	workers   int
	scenario  scenario
	http      string
	svg       string
	miniredis bool
	cluster   bool
}

func parseFlags(args []string, out io.Writer) (config, error) {
	var c config
	var addrs, name string
	fs := flag.NewFlagSet("failover", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&addrs, "addrs", "", "`databases` to use instead of own ones, heaviest first: host:port or URLs, comma-separated; none is killed")
	fs.DurationVar(&c.duration, "duration", 20*time.Second, "how long to run")
	fs.DurationVar(&c.switchAt, "switch-at", 0, "when to switch by hand to another database (0: never)")
	fs.StringVar(&name, "scenario", crash, "what happens to the active database: "+scenarioNames())
	fs.StringVar(&c.http, "http", "", "serve the console of the hook at this `address`, localhost:8080 for instance")
	fs.StringVar(&c.svg, "svg", "", "draw what was seen into this `file`")
	fs.DurationVar(&c.grace, "grace", 3*time.Second, "Failback.GracePeriod, the good health asked for before the return")
	fs.IntVar(&c.workers, "workers", 20, "goroutines that share the client")
	fs.DurationVar(&c.pause, "pause", time.Millisecond, "how long a worker rests between two operations (0: not at all)")
	fs.DurationVar(&c.every, "every", time.Second, "time between two lines of the timeline")
	fs.BoolVar(&c.miniredis, "miniredis", false, "use servers inside the program even if redis-server is installed")
	fs.BoolVar(&c.cluster, "cluster", false, "two Redis Clusters: a master of the active one is killed, then all of it")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if addrs != "" {
		for addr := range strings.SplitSeq(addrs, ",") {
			c.addrs = append(c.addrs, strings.TrimSpace(addr))
		}
		name = none
	}
	known := false
	c.scenario, known = scenarios[name]
	c.scenario.name = name
	switch {
	case fs.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q: everything is a flag, see -help", fs.Arg(0))
	case addrs != "" && len(c.addrs) < 2:
		return c, errors.New("-addrs: give two databases or more, separated by a comma")
	case slices.Contains(c.addrs, ""):
		return c, fmt.Errorf("-addrs: number %d is empty", slices.Index(c.addrs, "")+1)
	case c.cluster && (addrs != "" || c.miniredis || name != crash):
		return c, errors.New("-cluster: starts clusters of its own and has a script of its own, so it cannot be had with " +
			"-addrs, -miniredis or -scenario")
	case c.duration <= 0, c.every <= 0, c.workers <= 0, c.grace <= 0:
		return c, errors.New("-duration, -every, -workers and -grace must be > 0")
	case c.pause < 0, c.switchAt < 0:
		return c, errors.New("-pause and -switch-at must not be negative")
	case !known:
		return c, fmt.Errorf("-scenario %q: must be one of %s", name, scenarioNames())
	}
	return c, nil
}
