package probes

import (
	"context"
	"errors"
	"fmt"
)

type markerProbe struct{ key string }

// Marker returns a gate that keeps a database from being returned to that has come
// back empty: the key must be there. Set it once, without an expiry, in every
// database, when its data is complete:
//
//	SET multidb:data-is-here 1
//
// A database that was restarted without its data, or with that of another, does not have it. It is
// moved to only if nothing else is left. If the databases replicate to one another, the key arrives
// with the rest of the data, after what was written before it.
//
// It gates only (see [GatesOnly]): an active database that loses the key stays
// active. The user of the database needs EXISTS on the key. Safe for concurrent use.
// An empty key is reported by each check.
func Marker(key string) Probe { return &markerProbe{key} }

func (*markerProbe) String() string { return "marker" }

// GatesOnly is true: it has no say but in a move to a database.
func (*markerProbe) GatesOnly() bool { return true }

func (p *markerProbe) Check(ctx context.Context, db Target) error {
	if p.key == "" {
		return errors.New("marker: the key is empty")
	}
	if db.Client == nil {
		return errNoClient
	}
	n, err := db.Client.Exists(ctx, p.key).Result()
	if err != nil {
		return fmt.Errorf("marker: %w", permission(err))
	}
	if n == 0 {
		return fmt.Errorf("marker: the key %q is not there: the database may have come back without its data", p.key)
	}
	return nil
}
