package multidb

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// What packages need that restore, on top of the hook, what a switch takes from their users: txwrap and pubsubwrap. An
// application has no use for it.

// Choice is the answer to "which database?" at one moment. Immutable, safe for concurrent use.
type Choice struct {
	// Database is the name of the database in use, or of the one that was in use last if Down is true.
	Database string
	// Down is true while no database is usable.
	Down bool
	// Number counts the choices of a hook from 1. If it is the same before and after a request, there was no switch.
	Number uint64
	// Reason says why the choice was made, Planned whether the database before it was healthy. The first choice of a hook
	// has no reason.
	Reason  Reason
	Planned bool

	over <-chan struct{}
}

// Over is closed when there is a newer choice. A closed hook makes none.
func (c Choice) Over() <-chan struct{} { return c.over }

// Choice returns the current choice: one atomic load. Safe for concurrent use.
func (h *Hook) Choice() Choice {
	now := h.active.Load()
	return Choice{
		Database: now.db.name, Down: now.down, Number: now.seq,
		Reason: now.reason, Planned: now.planned, over: now.over(),
	}
}

// RungOf returns the rung of a command: what running it twice would do, as Options.ReplayCommands declares it or else as
// the library knows it. Safe for concurrent use.
func (h *Hook) RungOf(cmd redis.Cmder) Replay { return h.rules.rung(cmd) }

// HookOf returns the hook of a client, or nil if it has none. It sends nothing: a command named CLIENT passes the hooks
// of the client, which others may count, and stops before the network. Safe for concurrent use.
func HookOf(rdb redis.UniversalClient) *Hook {
	client, ok := rdb.(*redis.Client)
	if !ok || client == nil {
		return nil
	}
	conn := client.Conn()
	defer conn.Close()
	conn.AddHook(wall{})
	query := &hookQuery{Cmd: redis.NewCmd(context.Background(), "client", "id")}
	_ = conn.Process(context.Background(), query)
	return query.hook
}

// hookQuery asks for the hook that it passes. It has the name of a command of the handshake because those leave the
// normal path at once, where a look at the type would cost every command.
type hookQuery struct {
	*redis.Cmd
	hook *Hook
}

// answer answers a hookQuery.
func (h *Hook) answer(cmd redis.Cmder) bool {
	query, ok := cmd.(*hookQuery)
	if ok && query.hook == nil {
		query.hook = h
	}
	return ok
}

// wall is the innermost hook of a connection that must not send anything.
type wall struct{}

var errWall = errors.New("multidb: not to be sent")

func (wall) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, errWall }
}

func (wall) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return errWall }
}

func (wall) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return errWall }
}
