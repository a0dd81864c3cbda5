package goredis

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
)

// Passes tells whether a call has passed through a function, on behalf of a Client and not of a Conn or a Tx. It is asked on the
// way of requests that may block, so what a stack has said once is remembered: it allocates nothing then. Safe for concurrent use.
type Passes struct {
	through []string
	known   [passesKnown]atomic.Pointer[passed]
}

// passesKnown is how many stacks are remembered at most.
const passesKnown = 256

type passed struct {
	stack uint64
	here  bool
}

// NewPasses makes one for the functions with those full names.
func NewPasses(functions ...string) *Passes { return &Passes{through: functions} }

// NameOf returns the full name of a function.
func NameOf(function any) string {
	return runtime.FuncForPC(reflect.ValueOf(function).Pointer()).Name()
}

// Here reports whether one of the functions is among those that have led here.
func (p *Passes) Here() bool {
	var pcs [64]uintptr
	depth := runtime.Callers(2, pcs[:])
	sum := uint64(14695981039346656037)
	for _, pc := range pcs[:depth] {
		sum = (sum ^ uint64(pc)) * 1099511628211
	}
	place := &p.known[(sum^sum>>32)%passesKnown]
	if known := place.Load(); known != nil && known.stack == sum {
		return known.here
	}
	here := p.walk()
	place.Store(&passed{sum, here})
	return here
}

func (p *Passes) walk() (here bool) {
	client := false
	stack(func(function string) bool {
		cluster := strings.HasPrefix(function, ".(*ClusterClient).")
		switch {
		case strings.HasPrefix(function, ".(*Conn)."), strings.HasPrefix(function, ".(*Tx)."):
			here = false
			return false
		case client && !cluster:
			return false // who calls a Client is somebody else, unless it is one of the nodes of a ClusterClient
		case cluster:
			client = false
		}
		here = here || slices.Contains(p.through, function)
		client = strings.HasPrefix(function, ".(*Client).")
		return true
	})
	return here
}
