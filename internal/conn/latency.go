package conn

import (
	"sync/atomic"
	"time"
)

// stopwatch times one reply of a connection: the first after nothing was outstanding. The writer begins, the reader ends.
type stopwatch struct {
	asked atomic.Int64 // when the request was written, ns since the set's clockStart; 0: none is timed
}

// begin notes that a request is written. One that may wait for something else than the database, and is slow by nature, is not timed.
func (w *stopwatch) begin(class Class, clockStart time.Time) {
	if class&Blocks != 0 {
		w.asked.Store(0)
		return
	}
	w.asked.Store(int64(time.Since(clockStart)))
}

// end is called when something has been read. ok says that it is the reply that is timed.
func (w *stopwatch) end(clockStart time.Time) (took time.Duration, ok bool) {
	at := w.asked.Swap(0)
	return time.Since(clockStart) - time.Duration(at), at > 0
}
