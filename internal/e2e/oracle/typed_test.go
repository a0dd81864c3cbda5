package oracle_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/txwrap"
)

// Further ways to run a command: as each type that go-redis reads a reply into, through scripts, autopipeliners and txwrap.

// types make commands that read a reply as something. What cannot be read so is an error of go-redis, the same with the hook.
var types = map[string]func(ctx context.Context, args ...any) redis.Cmder{
	"StringCmd":          func(ctx context.Context, args ...any) redis.Cmder { return redis.NewStringCmd(ctx, args...) },
	"IntCmd":             func(ctx context.Context, args ...any) redis.Cmder { return redis.NewIntCmd(ctx, args...) },
	"BoolCmd":            func(ctx context.Context, args ...any) redis.Cmder { return redis.NewBoolCmd(ctx, args...) },
	"FloatCmd":           func(ctx context.Context, args ...any) redis.Cmder { return redis.NewFloatCmd(ctx, args...) },
	"StatusCmd":          func(ctx context.Context, args ...any) redis.Cmder { return redis.NewStatusCmd(ctx, args...) },
	"SliceCmd":           func(ctx context.Context, args ...any) redis.Cmder { return redis.NewSliceCmd(ctx, args...) },
	"StringSliceCmd":     func(ctx context.Context, args ...any) redis.Cmder { return redis.NewStringSliceCmd(ctx, args...) },
	"MapStringStringCmd": func(ctx context.Context, args ...any) redis.Cmder { return redis.NewMapStringStringCmd(ctx, args...) },
	"ZSliceCmd":          func(ctx context.Context, args ...any) redis.Cmder { return redis.NewZSliceCmd(ctx, args...) },
	"XStreamSliceCmd":    func(ctx context.Context, args ...any) redis.Cmder { return redis.NewXStreamSliceCmd(ctx, args...) },
	"DurationCmd": func(ctx context.Context, args ...any) redis.Cmder {
		return redis.NewDurationCmd(ctx, time.Second, args...)
	},
	"ScanCmd": func(ctx context.Context, args ...any) redis.Cmder { return redis.NewScanCmd(ctx, nil, args...) },
}

// typedShapes run a command as each type, alone and in a pipeline.
func typedShapes() (ways []shape) {
	for _, name := range slices.Sorted(maps.Keys(types)) {
		make := types[name]
		ways = append(ways, shape{name: name, ends: 1, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
			cmd := make(ctx, args...)
			s.whole(rdb.Process(ctx, cmd))
			s.typed(cmd)
			return s
		}}, shape{name: name + " in a pipeline", ends: 2, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
			pipe := rdb.Pipeline()
			head, cmd := pipe.Get(ctx, beside+"head"), make(ctx, args...)
			_ = pipe.Process(ctx, cmd)
			_, err := pipe.Exec(ctx)
			s.command(head)
			s.typed(cmd)
			s.whole(err)
			return s
		}})
	}
	return ways
}

// typed notes all that a typed command holds.
func (s *seen) typed(cmd redis.Cmder) {
	val := reflect.ValueOf(cmd).MethodByName("Val").Call(nil)
	text := ""
	for _, v := range val {
		text += fmt.Sprintf("%#v ", v.Interface())
	}
	*s = append(*s, text+describe(cmd.Err()))
}

var script = redis.NewScript("return redis.call('INCR', KEYS[1])")

// auto runs a command through an autopipeliner.
func auto(opt *redis.AutoPipelineOptions) func(context.Context, *redis.Client, []any) seen {
	return func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		ap, err := rdb.AutoPipelineWithOptions(opt)
		if err != nil {
			panic(err)
		}
		defer ap.Close()
		cmd := ap.Do(ctx, args...)
		_, err = cmd.Result()
		s.command(cmd)
		s.whole(err)
		return s
	}
}

// layers are the ways that lead through something on top of a client.
var layers = []shape{
	{name: "Script.Run", ends: 1, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		cmd := script.Run(ctx, rdb, []string{"k"}, args...)
		s.command(cmd)
		return s
	}},
	{name: "Script.Run on a Conn", ends: 1, session: true, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		conn := rdb.Conn()
		defer conn.Close()
		s.command(script.Run(ctx, conn, []string{"k"}, args...))
		return s
	}},
	{name: "half-duplex autopipeliner", ends: 1, run: auto(redis.DefaultBlockingAutoPipelineOptions())},
	{name: "full-duplex autopipeliner", ends: 1, session: true, run: auto(&redis.AutoPipelineOptions{FullDuplex: true})},
	{name: "txwrap", ends: 4, session: true, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		s.whole(txwrap.Watch(ctx, rdb, func(tx *txwrap.Tx) error {
			s = append(seen(nil), batch(ctx, tx.TxPipeline(), args, false)...)
			return nil
		}, beside+"watched"))
		return s
	}},
}
