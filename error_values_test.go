package multidb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// An error is a value: whoever prints it, walks it or compares it meets no password and no state that changes.

// printed collects what an assertion writes.
type printed struct{ strings.Builder }

func (p *printed) Errorf(_ string, args ...any) { _, _ = fmt.Fprint(&p.Builder, args...) }

// walk visits everything that is reachable from v, unexported fields and what interfaces hold included.
func walk(v reflect.Value, path string, seen map[uintptr]bool, visit func(path string, v reflect.Value)) {
	if !v.IsValid() || len(path) > 2_000 {
		return
	}
	visit(path, v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			walk(v.Elem(), path+".*", seen, visit)
		}
	case reflect.Interface:
		walk(v.Elem(), path, seen, visit)
	case reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), path+"."+v.Type().Field(i).Name, seen, visit)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walk(v.Index(i), path+"[]", seen, visit)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			walk(it.Key(), path+"[key]", seen, visit)
			walk(it.Value(), path+"[]", seen, visit)
		}
	}
}

// failures are the errors that the ways to use a client end with, by name.
func failures(t *testing.T, rdb *redis.Client) map[string]error {
	ctx := t.Context()
	conn := rdb.Conn()
	defer conn.Close()
	errs := map[string]error{
		"single":             rdb.Incr(ctx, "n").Err(),
		"clone":              rdb.WithTimeout(time.Second).Incr(ctx, "n").Err(),
		"Conn":               conn.Incr(ctx, "n").Err(),
		"Conn, dead already": conn.Incr(ctx, "n").Err(),
		"script":             rdb.Eval(ctx, "return 1", []string{"k"}).Err(),
		"Watch":              rdb.Watch(ctx, func(tx *redis.Tx) error { return tx.Incr(ctx, "n").Err() }, "k"),
	}
	_, errs["Pipeline"] = rdb.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "n"); return nil })
	_, errs["TxPipeline"] = rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "n"); return nil })
	return errs
}

const secret = "hunter2hunter2"

// TestErrorsHoldNoLiveState: a pretty-printer walks from an error into whatever it holds. Behind a database are its options, with
// the password, and counters that other goroutines change: a data race for the one who prints.
func TestErrorsHoldNoLiveState(t *testing.T) {
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "incr", "exec":
			return "", false
		case "eval":
			return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n", true
		case "auth":
			return "+OK\r\n", true
		}
		return fakeserver.Default(args), true
	})
	spec := func() *redis.Options {
		return &redis.Options{Addr: server.Addr(), Username: "u", Password: secret, MaxRetries: -1}
	}
	h := newHook(t, Options{Databases: []Database{{Name: "east", Options: spec()}}, Retry: Retry{MaxAttempts: -1}})
	rdb := redis.NewClient(spec())
	defer rdb.Close()
	rdb.AddHook(h)

	// Traffic beside the printers, so that the race detector has something to find.
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = rdb.Incr(ctx, "n").Err()
		}
	})
	live := map[reflect.Type]bool{reflect.TypeFor[database.Database](): true, reflect.TypeFor[Hook](): true, reflect.TypeFor[redis.Options](): true}
	for name, err := range failures(t, rdb) {
		require.Error(t, err, name)
		for verb, text := range map[string]string{
			"%v": fmt.Sprintf("%v", err), "%+v": fmt.Sprintf("%+v", err), "%#v": fmt.Sprintf("%#v", err), "%s": err.Error(),
		} {
			require.NotContains(t, text, secret, "%s of %s", verb, name)
			require.Less(t, len(text), 10_000, "%s of %s", verb, name)
		}
		if text, jsonErr := json.Marshal(err); jsonErr == nil {
			require.NotContains(t, string(text), secret, name)
		}
		for what, print := range map[string]func(*printed){
			"Equal": func(p *printed) { assert.Equal(p, context.Canceled, err) },
			"Nil":   func(p *printed) { assert.Nil(p, err) },
			"list":  func(p *printed) { assert.Equal(p, []error{}, []error{err}) },
		} {
			var p printed
			print(&p)
			require.False(t, strings.Contains(p.String(), secret), "%s of %s", what, name)
			require.Less(t, p.Len(), 20_000, "%s of %s", what, name)
		}
		walk(reflect.ValueOf(&err), name, map[uintptr]bool{}, func(path string, v reflect.Value) {
			require.False(t, live[v.Type()], "%s is a %v", path, v.Type())
			if v.Kind() == reflect.String {
				require.NotContains(t, v.String(), secret, path)
			}
		})
	}
}

// TestAnErrorLeadsToItsDatabaseWhileThereIsOne: blame falls on the database of the failure, not on another of its name, and not
// on the active one when it has gone.
func TestAnErrorLeadsToItsDatabaseWhileThereIsOne(t *testing.T) {
	one, two := database.New("east", 0, 1), database.New("east", 1, 1)
	err := fmt.Errorf("wrapped: %w", commandError(one, true, io.EOF))
	require.Same(t, one, failure.DatabaseOf(commandErrors{}, two, err))
	require.Same(t, two, failure.DatabaseOf(commandErrors{}, two, errors.New("of nowhere")))
	require.Same(t, two, failure.DatabaseOf(commandErrors{}, two, commandError(nil, false, ErrNoDatabase)))
	runtime.KeepAlive(one)
	one = nil //nolint:ineffassign // nothing may lead to it
	redistest.Eventually(t, 20*time.Second, "the removed database to be collected", func() bool {
		runtime.GC()
		db := failure.DatabaseOf(commandErrors{}, two, err)
		return db != two && db.Name == "" && db.Health.Removed()
	})
	runtime.KeepAlive(two)
}

// TestAFailureOnAForgottenDatabaseCountsNowhere: 1. A database is removed. 2. A request that was in flight there fails. 3. Nobody
// knows that database any more, and the active one has done nothing.
func TestAFailureOnAForgottenDatabaseCountsNowhere(t *testing.T) {
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) { return fakeserver.Default(args), true })
	h := newHook(t, Options{Databases: []Database{{Name: "east", URL: "redis://" + server.Addr()}}})
	nc, err := h.DialHook(nil)(t.Context(), "", "")
	require.NoError(t, err)
	defer nc.Close()
	err = &CommandError{Database: "gone", id: 1 << 60, Sent: true, Err: io.EOF}
	one := h.ProcessHook(func(context.Context, redis.Cmder) error { return err })
	require.Equal(t, err, one(t.Context(), redis.NewCmd(t.Context(), "incr", "k")))
	several := h.ProcessPipelineHook(func(context.Context, []redis.Cmder) error { return err })
	require.Equal(t, err, several(t.Context(), []redis.Cmder{redis.NewCmd(t.Context(), "incr", "k"), redis.NewCmd(t.Context(), "incr", "k")}))
	east := h.Stats().Databases[0]
	require.Zero(t, east.Failures)
	require.Zero(t, east.Suspicions)
}
