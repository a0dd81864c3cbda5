package prober

import (
	"sync/atomic"

	"github.com/redishook/multidb/internal/resp"
)

// role is what the database has said it is, in the reply to the HELLO of the last connection that was made.
type role struct{ replica atomic.Bool }

// learn takes the role from the first reply on a connection. A server without HELLO says nothing, and is taken for a master.
func (r *role) learn(reply []byte) {
	if said, ok := resp.Field(reply, "role"); ok {
		r.replica.Store(string(said) == "replica" || string(said) == "slave")
	}
}

// Replica reports whether the database has said on its last new connection that it is a replica. It is never true of a cluster.
func (p *Prober) Replica() bool { return p.cluster == nil && p.role.replica.Load() }
