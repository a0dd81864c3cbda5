package pair

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Proxied is a pair with a proxy before each server. Make it with NewProxied or StartProxied.
type Proxied struct {
	Pair
	ToEast, ToWest *faultproxy.Proxy
}

// NewProxied starts the servers and the proxies, and puts a hook and a client over the proxies.
func NewProxied(t testing.TB, change Change) *Proxied {
	t.Helper()
	p := StartProxied(t)
	p.AttachProxies(t, change)
	return p
}

// StartProxied starts the servers and the proxies, for a test that calls Attach or AttachProxies later.
func StartProxied(t testing.TB) *Proxied {
	t.Helper()
	p := &Proxied{Pair: Pair{East: redistest.Start(t), West: redistest.Start(t)}}
	p.ToEast = faultproxy.Start(t, p.East.Addr())
	p.ToWest = faultproxy.Start(t, p.West.Addr())
	return p
}

// AttachProxies puts a hook and a client over the proxies.
func (p *Proxied) AttachProxies(t testing.TB, change Change) {
	t.Helper()
	p.Attach(t, Through(p.East, p.ToEast), Through(p.West, p.ToWest), change)
}

// DropReplies drops, on the way to both servers, the replies to the requests that lost picks; nil ends that.
func (p *Proxied) DropReplies(lost func(args []string) bool) {
	p.ToEast.DropReplies(lost)
	p.ToWest.DropReplies(lost)
}

// Through returns the options of a server with the address of a proxy.
func Through(server *redistest.Redis, proxy *faultproxy.Proxy) *redis.Options {
	opt := server.Options()
	opt.Addr = proxy.Addr()
	return opt
}
