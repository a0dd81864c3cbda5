package probes

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	defaultWritePrefix = "multidb:probe:"
	defaultWriteTTL    = 10 * time.Second
	minWriteTTL        = time.Second
)

// WriteOptions are the options of [Write]. The zero value is ready to use.
type WriteOptions struct {
	// Prefix is what the keys begin with. The user needs SET and GET on it, and DEL unless it is to
	// leave the keys to their expiry. Default: "multidb:probe:".
	Prefix string

	// TTL is how long a key lives at most that could not be deleted. 0 and negative
	// = 10 s: no key is written without an expiry. Less than 1 s is raised to 1 s, so
	// that a busy server does not expire the key before it has read it.
	TTL time.Duration
}

type writeProbe struct {
	prefix string
	ttl    time.Duration
}

// Write returns a probe that sets a random key to a random value, reads it back and
// deletes it. It proves what no PING does: that the database takes writes and
// serves reads.
//
// A read-only replica, a database that is out of memory or one that cannot persist
// fails. A user without the right to write gets [ErrNotPermitted].
//
// Nothing is left behind: the key is deleted in the same round trip, and expires if
// that should fail. In a cluster each key is of another slot, so that several
// probes reach several masters, though not each of them as [Ping] does.
//
// Safe for concurrent use.
func Write(opt WriteOptions) Probe {
	p := &writeProbe{prefix: opt.Prefix, ttl: opt.TTL}
	if p.prefix == "" {
		p.prefix = defaultWritePrefix
	}
	if p.ttl <= 0 {
		p.ttl = defaultWriteTTL
	}
	p.ttl = max(p.ttl, minWriteTTL)
	return p
}

func (*writeProbe) String() string { return "write" }

// Check sends SET, GET and DEL as one pipeline, and not one after the other. A cluster client set
// to read from replicas would send a GET of its own there, where the key may not have arrived yet.
// A mixed pipeline goes to the master. And a context that ends halfway leaves no key.
func (p *writeProbe) Check(ctx context.Context, db Target) error {
	if db.Client == nil {
		return errNoClient
	}
	key, value := p.prefix+rand.Text(), rand.Text()
	pipe := db.Client.Pipeline()
	set := pipe.Set(ctx, key, value, p.ttl)
	get := pipe.Get(ctx, key)
	del := pipe.Del(ctx, key)
	_, err := pipe.Exec(ctx)

	// A login that is refused is an error of the pipeline and of none of its commands.
	if err != nil && set.Err() == nil && get.Err() == nil && del.Err() == nil {
		return fmt.Errorf("write: %w", permission(err))
	}
	// A DEL that fails is not counted: the expiry does its work, and a user may well
	// have no right to delete.
	if err := set.Err(); err != nil {
		return fmt.Errorf("write: %w", permission(err))
	}
	switch got, err := get.Result(); {
	case errors.Is(err, redis.Nil):
		return errors.New("read back: the key just written is not there")
	case err != nil:
		return fmt.Errorf("read back: %w", permission(err))
	case got != value:
		return errors.New("read back: the value differs from what was written")
	}
	return nil
}
