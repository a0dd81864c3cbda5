package multidb

import "sync"

// workers are the goroutines of a hook. Close joins them. The zero value is ready.
type workers struct {
	mu    sync.Mutex // leaf lock
	ended bool       // Guarded by mu
	wg    sync.WaitGroup
}

// Go starts a goroutine, unless the end has come: then it reports false.
func (w *workers) Go(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return false
	}
	w.wg.Go(f)
	return true
}

// end lets no other goroutine start.
func (w *workers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

// wait waits for all to return.
func (w *workers) wait() { w.wg.Wait() }
