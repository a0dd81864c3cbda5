package clustertest

import (
	"context"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// A fault proxy in front of each node. The nodes announce their own addresses, because replication and the cluster's bus must
// not go through a proxy; a dialer leads clients to the proxies.

// proxies are made when the first client wants one.
type proxies struct {
	mu     sync.Mutex
	byAddr map[string]*faultproxy.Proxy // by the address of the node
	closed bool
}

// Proxy returns the fault proxy in front of a node. It is made at the first call.
func (g *Group) Proxy(n *Node) (*faultproxy.Proxy, error) {
	g.proxies.mu.Lock()
	defer g.proxies.mu.Unlock()
	if p := g.proxies.byAddr[n.Addr()]; p != nil {
		return p, nil
	}
	if g.proxies.closed {
		return nil, net.ErrClosed
	}
	p, err := faultproxy.New(n.Addr())
	if err != nil {
		return nil, err
	}
	if g.proxies.byAddr == nil {
		g.proxies.byAddr = make(map[string]*faultproxy.Proxy)
	}
	g.proxies.byAddr[n.Addr()] = p
	return p, nil
}

func (p *proxies) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, proxy := range p.byAddr {
		proxy.Close()
	}
}

// Dial dials the proxy of a node where the address is that of one, and the address itself elsewhere. It is for
// ClusterOptions.Dialer.
func (g *Group) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if n := g.ByAddr(addr); n != nil {
		p, err := g.Proxy(n)
		if err != nil {
			return nil, err
		}
		addr = p.Addr()
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// Proxied is [Group.Options] for a client whose connections go through the proxies.
func (g *Group) Proxied() *redis.ClusterOptions {
	opt := g.Options()
	opt.Dialer = g.Dial
	return opt
}

// Proxy is [Group.Proxy].
func (c *Cluster) Proxy(n *Node) *faultproxy.Proxy {
	c.tb.Helper()
	p, err := c.Group.Proxy(n)
	c.check("Proxy", err)
	return p
}
