package optioncheck

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Addresses and URLs, and what of them may be said: a part of one may be a password.

// knownProtocol reports whether go-redis speaks that RESP. It replaces what is too small and asks the server for what is
// too large.
func knownProtocol(n int) bool { return n == 0 || n == 2 || n == 3 }

// dialable reports whether a TCP address has a port that can be dialed, by number or by the name of a service.
func dialable(addr string) bool {
	host, service, err := net.SplitHostPort(addr)
	if err != nil || strings.Contains(host, "@") {
		return false
	}
	port, err := net.LookupPort("tcp", service)
	return err == nil && port > 0
}

// dialableOrSocket is dialable where go-redis takes a path for that of a Unix socket.
func dialableOrSocket(addr string) bool { return strings.HasPrefix(addr, "/") || dialable(addr) }

// sayable quotes an address, unless it looks like a URL or has a user in it.
func sayable(addr string) string {
	if strings.ContainsAny(addr, "@/") {
		return unsaid
	}
	return fmt.Sprintf("%q", addr)
}

// RedactURL keeps the password out of an error about a URL: the parser quotes the part it stumbled over, which is the
// password if that has a character that must be escaped.
func RedactURL(raw string, err error) error {
	if strings.Contains(raw, "@") {
		return errors.New("must be redis://, rediss:// or unix://, with user and password percent-encoded")
	}
	var parse *url.Error
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}
