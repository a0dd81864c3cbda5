package probes

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/redis/go-redis/v9"
)

type echoProbe struct{}

// Echo returns a probe that sends ECHO (https://redis.io/docs/latest/commands/echo/) with a random
// text and compares what comes back. It proves more than [Ping]: a proxy that answers by itself
// does not pass. Nor does a connection on which answers and commands no longer match.
//
// It asks the same nodes as Ping does. Safe for concurrent use.
func Echo() Probe { return echoProbe{} }

func (echoProbe) String() string { return "echo" }

func (echoProbe) Check(ctx context.Context, db Target) error {
	return eachNode(ctx, db.Client, func(ctx context.Context, node redis.Cmdable) error {
		sent := rand.Text()
		got, err := node.Echo(ctx, sent).Result()
		if err != nil {
			return err
		}
		if got != sent {
			return errors.New("the echo differs from what was sent")
		}
		return nil
	})
}
