package callback

import (
	"context"
	"log/slog"
)

// safeHandler is a handler of the user's that may panic: a log line is lost then, and nothing else.
type safeHandler struct{ slog.Handler }

// SafeLogger makes a logger whose handler is contained.
func SafeLogger(log *slog.Logger) *slog.Logger { return slog.New(safeHandler{log.Handler()}) }

func (c safeHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return Ask(func() bool { return c.Handler.Enabled(ctx, level) }, false)
}

func (c safeHandler) Handle(ctx context.Context, record slog.Record) error {
	return Ask(func() error { return c.Handler.Handle(ctx, record) }, nil)
}

// WithAttrs is not used by this package, but must not lead out of the containment.
func (c safeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return safeHandler{c.Handler.WithAttrs(attrs)}
}

// WithGroup is like WithAttrs.
func (c safeHandler) WithGroup(name string) slog.Handler {
	return safeHandler{c.Handler.WithGroup(name)}
}
