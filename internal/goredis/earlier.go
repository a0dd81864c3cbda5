package goredis

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// go-redis puts the error of a pipeline on the commands that have none, and takes none away before it runs the pipeline again:
//
//  1. Nothing of a pipeline is sent. Each of its commands gets that error.
//  2. go-redis runs the pipeline again, in the same goroutine. It is sent, and the connection is lost after the first reply.
//  3. The commands behind keep the error of step 1, which says "not sent".
//
// Where our process hook is, StampUnanswered puts that right. A WithTimeout clone has none. So the error of step 1 is remembered by
// its goroutine, and becomes that of step 2: nobody but go-redis has it yet.

// earlier are the errors of pipelines of which nothing was sent and which go-redis may run again.
var earlier = unsentPipelines{last: map[string]*unsentError{}, limit: 256}

type unsentPipelines struct {
	mu    sync.Mutex
	last  map[string]*unsentError // by goroutine. Guarded by mu
	limit int                     // how many there may be before old ones are left out. Guarded by mu
}

// rememberedFor is longer than a pipeline takes from one attempt to the end of the next.
const rememberedFor = time.Minute

// remember notes an error of a pipeline of this goroutine.
func (p *unsentPipelines) remember(e *unsentError) {
	id := Goroutine()
	e.at = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	e.before = p.last[id]
	p.last[id] = e
	if len(p.last) <= p.limit {
		return
	}
	for id, e := range p.last {
		if time.Since(e.at) > rememberedFor { // of a pipeline that has gone through, or of a goroutine that is no more
			delete(p.last, id)
		}
	}
	p.limit = max(256, 2*len(p.last))
}

// take returns what is remembered of this goroutine, and forgets it.
func (p *unsentPipelines) take() *unsentError {
	id := Goroutine()
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.last[id]
	delete(p.last, id)
	return e
}

// Lost is told the error of a request that was sent and not answered, by the goroutine that go-redis waits in. If that is a pipeline
// whose attempts before were not sent, their errors become this one.
func Lost(err error) {
	if !has(pipelineLoop) {
		return
	}
	for e := earlier.take(); e != nil; e = e.before {
		e.became.Store(&err)
	}
}

// Goroutine names the goroutine that asks; empty if that is not known. It is asked after a failure only.
func Goroutine() string {
	var buf [64]byte
	text := buf[:runtime.Stack(buf[:], false)] // goroutine 7 [running]:
	if fields := bytes.Fields(text); len(fields) > 1 {
		if _, err := strconv.ParseUint(string(fields[1]), 10, 64); err == nil {
			return string(fields[1])
		}
	}
	return ""
}
