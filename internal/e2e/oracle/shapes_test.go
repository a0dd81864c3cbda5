package oracle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The ways in which an application runs a command, and what it sees of it.

// seen is everything that a caller gets: for each command its value and its error, and the error of the whole.
type seen []string

func (s seen) String() string { return strings.Join(s, "; ") }

// unreadable reports an answer that does not fit the type of its command. An integer is read as the length of an array, whose
// elements go-redis waits for.
func (s seen) unreadable() bool {
	last := s[len(s)-1]
	for _, text := range []string{"redis: can't parse", "redis: unexpected", "redis: got ", "redis: the length", "strconv.", "i/o timeout"} {
		if strings.Contains(last, text) {
			return true
		}
	}
	return false
}

func (s *seen) command(cmd redis.Cmder) {
	value := ""
	switch c := cmd.(type) {
	case *redis.Cmd:
		value = fmt.Sprintf("%#v", c.Val())
	case *redis.StringCmd:
		value = fmt.Sprintf("%#v", c.Val())
	default:
		value = c.String()
	}
	*s = append(*s, value+" "+describe(cmd.Err()))
}

func (s *seen) whole(err error) { *s = append(*s, "whole: "+describe(err)) }

// describe says all of an error that an application may look at.
func describe(err error) string {
	if err == nil {
		return "<no error>"
	}
	var reply redis.Error
	return fmt.Sprintf("<%v; nil %v, reply %v, race lost %v>", err, errors.Is(err, redis.Nil), errors.As(err, &reply),
		errors.Is(err, redis.TxFailedErr))
}

// shape is one way to run a command.
type shape struct {
	name    string
	ends    int  // requests of the first attempt that are refused, where it is refused
	partly  bool // company is not refused
	session bool // on a connection that is held, or by a clone: the hook may run nothing again
	run     func(ctx context.Context, rdb *redis.Client, args []any) seen
}

var shapes = []shape{
	{name: "single", ends: 1, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		cmd := rdb.Do(ctx, args...)
		s.command(cmd)
		_, err := cmd.Result()
		s.whole(err)
		return s
	}},
	{name: "pipeline, all of it refused", ends: 3, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		return batch(ctx, rdb.Pipeline(), args, true)
	}},
	{name: "pipeline, its end refused", ends: 1, partly: true, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		return batch(ctx, rdb.Pipeline(), args, false)
	}},
	{name: "TxPipeline", ends: 4, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		return batch(ctx, rdb.TxPipeline(), args, false)
	}},
	{name: "Watch", ends: 4, session: true, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		s.whole(rdb.Watch(ctx, func(tx *redis.Tx) error {
			s = append(s, batch(ctx, tx.TxPipeline(), args, false)...)
			return nil
		}, beside+"watched"))
		return s
	}},
	{name: "Conn", ends: 1, session: true, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		conn := rdb.Conn()
		defer conn.Close()
		s.command(conn.Do(ctx, args...))
		return s
	}},
	{name: "clone", ends: 1, session: true, run: func(ctx context.Context, rdb *redis.Client, args []any) (s seen) {
		s.command(rdb.WithTimeout(readTimeout).Do(ctx, args...))
		return s
	}},
}

// batch runs a command behind another one, and before a third one if there is a rest.
func batch(ctx context.Context, pipe redis.Pipeliner, args []any, rest bool) (s seen) {
	cmds := []redis.Cmder{pipe.Get(ctx, beside+"head"), pipe.Do(ctx, args...)}
	if rest {
		cmds = append(cmds, pipe.Get(ctx, beside+"tail"))
	}
	_, err := pipe.Exec(ctx)
	for _, cmd := range cmds {
		s.command(cmd)
	}
	s.whole(err)
	return s
}
