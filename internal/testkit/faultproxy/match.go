package faultproxy

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Named matches commands by name, in any case.
func Named(names ...string) func(args []string) bool {
	return func(args []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, args[0]) })
	}
}

// Session matches the commands that set a connection up or look after it, which a client sends by itself.
func Session(args []string) bool { return session(args) }

var session = Named("AUTH", "CLIENT", "HELLO", "PING", "QUIT", "READONLY", "RESET", "SELECT")

// First matches the first n commands that pred matches, and none after that.
func First(n int, pred func(args []string) bool) func(args []string) bool {
	var seen atomic.Int64
	return func(args []string) bool { return pred(args) && seen.Add(1) <= int64(n) }
}
