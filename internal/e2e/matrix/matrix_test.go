// Package matrix_test strikes a database with each kind of fault under each kind of load, and notes what callers see.
package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

// world is two servers behind proxies, with a hook of defaults over them.
type world struct {
	*pair.Proxied
	dials atomic.Int32
}

func newWorld(t *testing.T) *world {
	w := &world{Proxied: pair.StartProxied(t)}
	east, west := pair.Through(w.East, w.ToEast), pair.Through(w.West, w.ToWest)
	east.Dialer, west.Dialer = w.dial, w.dial
	w.Attach(t, east, west, func(o *multidb.Options, _ *redis.Options) { o.Initial = multidb.InitialAll })
	return w
}

// kind is one kind of load.
type kind struct {
	name string
	n    int // goroutines; 0: nobody asks anything
	op   func(ctx context.Context, rdb *redis.Client, g, i int) error
}

func unlessNil(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func read(ctx context.Context, rdb *redis.Client, g, _ int) error {
	return unlessNil(rdb.Get(ctx, fmt.Sprint("k", g)).Err())
}

func write(ctx context.Context, rdb *redis.Client, g, i int) error {
	return rdb.Set(ctx, fmt.Sprint("k", g), i, 0).Err()
}

var loads = []kind{
	{"reads", 10, read},
	{"writes", 10, write},
	{"both", 10, func(ctx context.Context, rdb *redis.Client, g, i int) error {
		if i%2 == 0 {
			return read(ctx, rdb, g, i)
		}
		return write(ctx, rdb, g, i)
	}},
	{"blocking", 10, func(ctx context.Context, rdb *redis.Client, _, _ int) error {
		return unlessNil(rdb.BLPop(ctx, time.Second, "nothing").Err())
	}},
	{"pub/sub", 2, func(ctx context.Context, rdb *redis.Client, _, _ int) error { return rdb.Publish(ctx, "news", 1).Err() }},
	{"idle", 0, nil},
}

// TestMatrix is every fault under every load at full length, and a sample of them with -short.
func TestMatrix(t *testing.T) {
	sample := map[string]bool{"kill/both": true, "MISCONF for writes/writes": true, "slow by 100 ms/reads": true,
		"this process is starved: one processor, 40 goroutines that compute/idle": true, "no DNS for either database/both": true}
	for _, f := range faults {
		for _, k := range loads {
			if testing.Short() && !sample[f.name+"/"+k.name] {
				continue
			}
			t.Run(f.name+"/"+k.name, func(t *testing.T) { cell(t, f, k) })
		}
	}
}

// cell is one fault under one load.
func cell(t *testing.T, f fault, k kind) {
	w := newWorld(t)
	if k.name == "pub/sub" {
		sub := w.RDB.Subscribe(t.Context(), "news")
		defer sub.Close()
		_, err := sub.Receive(t.Context())
		require.NoError(t, err)
	}
	l := load.Start(k.n, func(ctx context.Context, g, i int) error {
		time.Sleep(2 * time.Millisecond)
		return k.op(ctx, w.RDB, g, i)
	})
	defer l.End()
	time.Sleep(300 * time.Millisecond) // every connection is made
	began := time.Now()
	end := f.strike(t, w)
	watched := 2500 * time.Millisecond
	if f.want == away {
		watched = 6 * time.Second
	}
	for len(w.Switched()) == 0 && time.Since(began) < watched {
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began).Round(time.Millisecond)
	if len(w.Switched()) > 0 {
		time.Sleep(300 * time.Millisecond) // and nobody moves again
	}
	end()
	l.End()
	switches := len(w.Switched())
	after, wrong := "stays", ""
	if switches > 0 {
		after = took.String()
	}
	if f.want == stays && switches > 0 || switches > 1 {
		wrong = " **false**"
	}
	report(t, fmt.Sprintf("| %s | %s | %s%s | %d of %d |\n", f.name, k.name, after, wrong, l.Unknown.Load()+l.Other.Load(), l.Ops.Load()+l.Unknown.Load()+l.Other.Load()))
	require.LessOrEqual(t, switches, 1, "%v", w.Switched())
	switch f.want {
	case away:
		if k.n == 0 && f.dials {
			break // nobody needs a new connection
		}
		require.Equal(t, "west", w.Hook.Active())
	case stays:
		require.Zero(t, switches, "%v", w.Switched())
	}
	if !f.errors && k.name != "blocking" && k.name != "pub/sub" { // a PUBLISH, too, may have been executed
		require.Empty(t, l.Errs)
	}
}

// head stands above the rows of docs/matrix.md.
const head = `# Faults and loads

Two real redis-server processes behind proxies, a hook of defaults, and ten goroutines that do one kind of thing. Two of them publish to
a subscription; where it is idle, there are none. The active database meets one kind of fault. Measured by ` + "`make matrix`" + `, without the
race detector. Each row is also a test. It fails if a database is left that should not be, or kept that should not be.

*Moved after* is the time from the fault to the switch. *stays*: there was none. A switch is **false** if nothing was wrong with the
database, or if another one followed. *Errors* are those that callers got, of all their calls. Some faults are this process' own (no
descriptors), and OOM belongs to the caller. A proxy may not say whether it had sent a request. A BLPOP or PUBLISH that was on its way
when its database was lost is told so: it may have been executed.

| fault of the active database | load | moved after | errors |
|---|---|---|---|
`

// report logs a row of docs/matrix.md, and appends it to the file named by MULTIDB_MATRIX.
func report(t *testing.T, row string) {
	t.Log(row)
	if name := os.Getenv("MULTIDB_MATRIX"); name != "" {
		file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		require.NoError(t, err)
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.Size() == 0 {
			row = head + row
		}
		_, err = file.WriteString(row)
		require.NoError(t, err)
	}
}
