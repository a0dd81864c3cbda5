// Package replay knows what running a command twice does. The commands and their rungs are in commands.go (by name), rungs.go
// (by name and by arguments) and table.go (generated from a server); what may be said of several commands is in batch.go.
package replay

import (
	"context"
	"fmt"
)

// Rung is a rung of the replay ladder. The root package documents each, and what may be expected of a second run.
type Rung int

const (
	// Default stands for LastWins.
	Default Rung = 0

	// None runs nothing again that was sent. As the rung of a command it is a veto.
	None Rung = -1
)

// The rungs, mildest first. Each includes those above it.
const (
	Connection   Rung = iota + 1 // does not touch the data
	Read                         // only reads
	Checked                      // a write whose second run does nothing or fails
	LastWins                     // a write that ends in the same state unless another client wrote in between
	Accumulating                 // a write that is applied twice
	Admin                        // changes the server
	All                          // everything else
)

// never is the rung of commands that only [All] runs again.
const never = All

var names = [...]string{
	Default:      "default",
	Connection:   "connection",
	Read:         "read",
	Checked:      "checked",
	LastWins:     "last-wins",
	Accumulating: "accumulating",
	Admin:        "admin",
	All:          "all",
}

// String returns the name of the rung: "none", "connection", "read", and so on, or "default" for the zero value.
func (r Rung) String() string {
	switch {
	case r < 0:
		return "none"
	case int(r) < len(names):
		return names[r]
	default:
		return fmt.Sprintf("Replay(%d)", int(r))
	}
}

// resolve applies the house rule for option values: 0 is the default, negative is off. A value above the ladder is no
// rung and ok is false.
func (r Rung) resolve() (resolved Rung, ok bool) {
	switch {
	case r == Default:
		return LastWins, true
	case r < 0:
		return None, true
	case r > All:
		return None, false
	default:
		return r, true
	}
}

type overrideKey struct{}

// WithHighest returns a context for which r, and not the option, is the highest rung that is run again. The zero value
// leaves the decision to the option. A value that is no rung counts as [None].
func WithHighest(ctx context.Context, r Rung) context.Context {
	return context.WithValue(ctx, overrideKey{}, r)
}

// override returns what [WithHighest] put into ctx, resolved.
func override(ctx context.Context) (Rung, bool) {
	r, _ := ctx.Value(overrideKey{}).(Rung)
	if r == Default {
		return Default, false
	}
	r, _ = r.resolve()
	return r, true
}
