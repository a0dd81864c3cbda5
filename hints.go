package multidb

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// What is probably meant, where an error says only what has happened.

// withHint adds what an error of the start is mostly due to.
func (o *Options) withHint(err error) error {
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS), o.anyTLS() && strings.Contains(err.Error(), "no answer within"):
		// A redis-server waits for the end of the line that the first bytes of TLS are to it.
		return fmt.Errorf("%w (a server that speaks no TLS there does not answer: write redis:// in place of rediss://, or the port of its TLS)", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w (a server that wants TLS ends connections like this: write rediss:// in place of redis:// if it does)", err)
	}
	return err
}

// anyTLS reports whether a database is reached by TLS.
func (o *Options) anyTLS() bool {
	return slices.ContainsFunc(o.Databases, func(db Database) bool {
		return strings.HasPrefix(db.URL, "rediss://") || db.Options != nil && db.Options.TLSConfig != nil
	})
}

// samePlaces finds databases that are one and the same: a failover between them changes nothing. What a Dialer leads to is not
// known, nor who the master of a group is.
func (o *Options) samePlaces() (pairs [][2]string) {
	seen := make(map[string]string)
	for _, db := range o.Databases {
		place := placeOfOptions(db)
		if place == "" {
			continue
		}
		if first, ok := seen[place]; ok {
			pairs = append(pairs, [2]string{first, db.Name})
			continue
		}
		seen[place] = db.Name
	}
	return pairs
}

// placeOfOptions is the network, address and index of a database, or empty if nobody knows.
func placeOfOptions(db Database) string {
	opt := db.Options
	if db.URL != "" {
		opt, _ = redis.ParseURL(db.URL) // it has been validated
	}
	if opt == nil || opt.Dialer != nil || opt.Addr == "" {
		return ""
	}
	return fmt.Sprint(opt.Network, " ", opt.Addr, " ", opt.DB)
}

// samePlaces says which databases are one.
func (d *dispatcher) samePlaces(pairs [][2]string) {
	for _, pair := range pairs {
		d.Push(func() {
			d.Log.Warn("multidb: two databases have the same address and index: a failover between them changes nothing",
				"database", pair[0], "other", pair[1])
		})
	}
}
