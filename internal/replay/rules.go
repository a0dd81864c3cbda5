package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/resp"
)

// Rules are the compiled replay options. They are immutable and safe for concurrent use. The zero value is the
// default.
type Rules struct {
	max  Rung
	user map[string]Rung // by lower-case command name
}

// New compiles the highest rung and the commands the user declared. It reports all bad entries at once, each
// by its name.
func New(highest Rung, user map[string]Rung) (Rules, error) {
	var errs []error
	rules := Rules{}
	var ok bool
	if rules.max, ok = highest.resolve(); !ok {
		errs = append(errs, fmt.Errorf("Replay: %d is no rung (ReplayAll is the highest)", int(highest)))
	}
	names := make([]string, 0, len(user))
	for name := range user {
		names = append(names, name)
	}
	slices.Sort(names) // the same mistakes give the same message
	spelling := make(map[string]string, len(user))
	for _, name := range names {
		lower, rung := resp.Lower(name), user[name]
		first, twice := spelling[lower]
		switch {
		case name == "" || strings.ContainsAny(name, " \t\r\n|"):
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: want the name of one command, without its arguments", name))
		case transactional(lower):
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: a transaction is decided as a whole; "+
				"use WithReplay(ctx, ReplayAll) for one that may run twice", name))
		case rung == Default:
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: 0 is no rung; name one, "+
				"or ReplayNone to never run it again", name))
		case rung > All:
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: %d is no rung (ReplayAll is the highest)", name, int(rung)))
		case twice:
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: declared twice, also as %q", name, first))
		default:
			if rules.user == nil {
				rules.user = make(map[string]Rung, len(user))
			}
			rules.user[lower], _ = rung.resolve()
			spelling[lower] = name
		}
	}
	return rules, errors.Join(errs...)
}

// May says whether cmds, sent in this order over one connection and not answered, may all be run again, in order. It
// is what the hook asks, for one command or for the unanswered tail of a pipeline.
//
// The answer for several commands is stricter than the answers for each: see [Rules.composes].
func (r Rules) May(ctx context.Context, cmds ...redis.Cmder) bool {
	highest, ok := override(ctx)
	if !ok {
		highest, _ = r.max.resolve()
	}
	if !WholeTransactions(cmds) {
		return false
	}
	for _, cmd := range cmds {
		if cmd.NoRetry() {
			return false
		}
		// A negative rung is the user's veto on that command, below every highest rung yet never run again.
		if rung := r.Rung(cmd); rung < 0 || rung > highest {
			return false
		}
	}
	return len(cmds) < 2 || highest >= Accumulating || r.composes(cmds)
}

// Rung returns what the user declared for the command, or else what is known of it.
func (r Rules) Rung(cmd redis.Cmder) Rung {
	args := argv(cmd.Args())
	if r.user != nil {
		if name, ok := args.text(0); ok {
			if rung, ok := r.user[resp.Lower(name)]; ok {
				return rung
			}
		}
	}
	return args.rung()
}
