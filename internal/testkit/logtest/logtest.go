// Package logtest keeps what is logged, for a test to look at.
package logtest

import (
	"context"
	"log/slog"
	"sync"
)

// Handler is a slog.Handler that keeps what is logged. The zero value is ready. Safe for concurrent use.
type Handler struct {
	mu      sync.Mutex
	records []slog.Record
}

// Enabled is always true.
func (r *Handler) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs changes nothing.
func (r *Handler) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup changes nothing.
func (r *Handler) WithGroup(string) slog.Handler { return r }

// Handle keeps the record.
func (r *Handler) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, record)
	return nil
}

// Levels returns the levels of all lines with that message, by the value of one attribute ("": by nothing).
func (r *Handler) Levels(message, attribute string) map[string]slog.Level {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := make(map[string]slog.Level)
	for _, record := range r.records {
		if record.Message != message {
			continue
		}
		key := ""
		record.Attrs(func(a slog.Attr) bool {
			if a.Key == attribute {
				key = a.Value.String()
			}
			return true
		})
		found[key] = record.Level
	}
	return found
}
