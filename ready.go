package multidb

import "fmt"

// Ready returns nil while a database is usable, and ErrClosed after Close. Otherwise its error matches
// ErrNoDatabase, and says why the database that was active last is not usable. It asks nobody and costs two loads,
// so a probe may call it as often as it likes. Safe for concurrent use.
//
// Think twice before a readiness probe of a service depends on it: when all databases are down, they are down for every
// instance at once. Instances that are taken out of the load balancer then answer nothing at all. Those that stay
// in can still answer what needs no database, and say "try again" to the rest. It is right where an instance sees
// databases that others do not, and for the start of an instance. It is never right for a liveness probe: a
// restart mends no database.
func (h *Hook) Ready() error {
	if h.isClosed() {
		return ErrClosed
	}
	now := h.selector.Current()
	if !now.Down {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNoDatabase, now.DB.Health.Trouble())
}
