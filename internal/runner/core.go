package runner

import (
	"context"
	"time"

	"github.com/failsafe-go/failsafe-go"

	"github.com/redishook/multidb/internal/blocked"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/selector"
)

// What a runner consists of.

// Config is what a runner is made of. It must not be changed.
type Config struct {
	Choice  *selector.Selector
	Rules   replay.Rules
	Replies func(reply error, known Meaning) Meaning // the user's word about replies; may be nil
	Errors  failure.Errors
	Waiting *blocked.Commands

	MaxAttempts            int
	MinBackoff, MaxBackoff time.Duration
	MaxWait                time.Duration
	DryRun                 bool

	// Owner is what a Query finds.
	Owner any
	// Routing reports whether a client has asked for a connection. Before that, what passes is over the connections of others.
	Routing func() bool
	// Ctx ends when the hook is closed.
	Ctx context.Context
	// Refused is told of a reply by which a database refuses, and of its code.
	Refused func(database, code string, reply error)
}

// Runner runs commands. Safe for concurrent use.
type Runner struct {
	cfg     Config
	choice  *selector.Selector
	errors  failures
	replies judge
	retry   failsafe.Executor[any]
}

func (r *Runner) isClosed() bool { return r.cfg.Ctx.Err() != nil }

// databaseOf finds the database on which err happened.
func (r *Runner) databaseOf(now *selector.Epoch, err error) *database.Database {
	return failure.DatabaseOf(r.errors, now.DB, err)
}
