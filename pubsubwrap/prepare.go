package pubsubwrap

import (
	"context"
	"time"
)

// preparation is the announcement of a planned switch, which waits until done is closed, or no longer. Owned by the
// follower, once it has been handed over.
type preparation struct {
	database string
	until    int64
	done     chan struct{}
	released bool
	also     *preparation // an earlier one for the same database
}

// prepareValid is how long a connection is kept ready for a switch: one that has not come by then will not come.
const prepareValid = 2 * time.Second

// prepare is called before a planned switch, by whoever makes it.
func (f *follower) prepare(ctx context.Context, database string) {
	p := &preparation{database: database, until: now() + int64(prepareValid), done: make(chan struct{})}
	select {
	case f.prepares <- p:
	case <-ctx.Done():
		return
	case <-f.link.ctx.Done():
		return
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	case <-f.link.ctx.Done():
	}
}

// accept takes a preparation. The one before is not waited for any longer if it was for another database, because only
// one can be prepared.
func (f *follower) accept(p *preparation) {
	if old := f.prepared; old != nil && old.database == p.database && !old.released {
		p.also = old
	} else {
		old.release()
	}
	f.prepared = p
}

// release lets the switch go on.
func (p *preparation) release() {
	for ; p != nil && !p.released; p = p.also {
		p.released = true
		close(p.done)
	}
}
