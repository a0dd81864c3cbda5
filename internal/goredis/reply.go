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

// RunsAgain reports one of the replies that go-redis itself runs a command again for.
func RunsAgain(err error) bool {
	return redis.IsLoadingError(err) || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) || redis.IsTryAgainError(err) ||
		redis.IsMasterDownError(err) || redis.IsMaxClientsError(err) || redis.IsNoReplicasError(err)
}

// ReplyText is the server's text, without the ERR that some proxies and forks put before a code.
func ReplyText(err error) string {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return ""
	}
	return strings.TrimPrefix(reply.Error(), "ERR ")
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

// Temporary is what the error itself says of being temporary; false if it says nothing.
func Temporary(err net.Error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}
