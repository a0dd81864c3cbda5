package goredis

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"

	"github.com/redis/go-redis/v9"
)

// IsReply reports whether err is a reply of a server (or redis.Nil).
func IsReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// Unavailable reports a reply that means "this database cannot serve now", in whatever form: typed, with a proxy's ERR
// before it, or quoted by a script that failed on it. Each is one of go-redis' own retryable replies, and MISCONF
// (the server cannot persist and refuses writes).
func Unavailable(err error) bool {
	if !IsReply(err) {
		return false
	}
	switch {
	case redis.IsLoadingError(err), redis.IsReadOnlyError(err), redis.IsClusterDownError(err),
		redis.IsTryAgainError(err), redis.IsMasterDownError(err), redis.IsMaxClientsError(err), redis.IsNoReplicasError(err):
		return true
	}
	text := ReplyText(err)
	for _, code := range unavailableCodes {
		if strings.HasPrefix(text, code) {
			return true
		}
	}
	return QuotesReadOnly(text)
}

var unavailableCodes = []string{
	"LOADING ", "READONLY ", "CLUSTERDOWN ", "TRYAGAIN ", "MASTERDOWN ", "NOREPLICAS ", "MISCONF ",
	"max number of clients reached",
}

// ReplyText is the server's text, without the ERR that some proxies and forks put before a code.
func ReplyText(err error) string {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return ""
	}
	return strings.TrimPrefix(reply.Error(), "ERR ")
}

// QuotesReadOnly finds the READONLY that a script met, which older servers quote inside an error of their own.
func QuotesReadOnly(text string) bool {
	return strings.Contains(text, "-READONLY You can't write against a read only replica")
}

// InsideScript reports that the reply comes out of a script or a transaction: what was executed before it stays.
func InsideScript(err error) bool {
	text := ReplyText(err)
	return QuotesReadOnly(text) || strings.Contains(text, "script: ") || strings.HasPrefix(text, "EXECABORT")
}

// RefusedUnread finds the replies that a server gives before it looks at what a script does, and never out of one.
func RefusedUnread(err error) bool {
	text := ReplyText(err)
	return strings.HasPrefix(text, "LOADING ") && strings.HasSuffix(text, " is loading the dataset in memory") ||
		strings.HasPrefix(text, "MASTERDOWN Link with MASTER is down") ||
		strings.HasPrefix(text, "max number of clients reached")
}

// IsSessionDead finds go-redis' BadConnError, which a Conn or a Tx returns for every request after its connection has
// died.
func IsSessionDead(err error) bool {
	found := false
	Walk(err, func(e error) bool {
		found = found || IsBadConn(e)
		return !found
	})
	return found
}

// IsBadConn tells a BadConnError. Its type is internal to go-redis, so it is told by name; a test fails if the name changes.
func IsBadConn(err error) bool { return fmt.Sprintf("%T", err) == "pool.BadConnError" }

// Walk visits every error of the tree, in the order of errors.As, but none behind one that visit holds back.
func Walk(err error, visit func(error) bool) {
	for err != nil {
		if !visit(err) {
			return
		}
		if e := asNoRetry(err); e != nil {
			err = e.err
			continue
		}
		switch x := err.(type) { //nolint:errorlint // this is the unwrapping
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				Walk(e, visit)
			}
			return
		default:
			return
		}
	}
}

// Reply makes the error that go-redis would have made of a reply, so that redis.IsAuthError and its like know it.
func Reply(text string) error {
	err := reflect.New(reflect.TypeOf(redis.Nil)).Elem()
	err.SetString(strings.TrimSpace(text))
	return err.Interface().(error)
}

func Temporary(err net.Error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}
