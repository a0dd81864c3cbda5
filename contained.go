package multidb

import (
	"context"
	"log/slog"
)

// contained is a handler of the user's that may panic: a log line is lost then, and nothing else.
type contained struct{ slog.Handler }

// containLogger makes a logger whose handler is contained.
func containLogger(log *slog.Logger) *slog.Logger { return slog.New(contained{log.Handler()}) }

func (c contained) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() {
		if recover() != nil {
			enabled = false
		}
	}()
	return c.Handler.Enabled(ctx, level)
}

func (c contained) Handle(ctx context.Context, record slog.Record) error {
	defer func() { _ = recover() }()
	return c.Handler.Handle(ctx, record)
}

// WithAttrs is not used by this package, but must not lead out of the containment.
func (c contained) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contained{c.Handler.WithAttrs(attrs)}
}

// WithGroup is like WithAttrs.
func (c contained) WithGroup(name string) slog.Handler { return contained{c.Handler.WithGroup(name)} }
