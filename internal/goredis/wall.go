package goredis

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// Wall is the innermost hook of a connection that must not send anything: whoever asks hooks something by a command adds it first.
type Wall struct{}

var errWall = errors.New("multidb: not to be sent")

// DialHook lets nobody dial.
func (Wall) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, errWall }
}

// ProcessHook lets no command pass.
func (Wall) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return errWall }
}

// ProcessPipelineHook lets no pipeline pass.
func (Wall) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return errWall }
}
