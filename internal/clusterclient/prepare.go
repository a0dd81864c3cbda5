package clusterclient

import (
	"context"
	"errors"
	"net"
	"reflect"
	"weak"

	"github.com/redis/go-redis/v9"
)

// Options that hook each node before it dials. go-redis dials MinIdleConns as soon as a node's client is made, which is before
// OnNewNode is called: those connections would go past a hook that is added there, with the credentials of the client.

var (
	errNotFollowing = errors.New("the client has options of Hook.ClusterOptions and was not given to Hook.Attach")
	errOthers       = errors.New("the client has options of another hook's ClusterOptions")
	errTwice        = errors.New("another client has these options: call Hook.ClusterOptions for each")
	errCached       = errors.New("the NewClient of the options gives nodes a client-side cache, which would keep values of the " +
		"cluster that was left; switch it off")
)

// Prepare returns a copy of options for one client. Its nodes can dial once the client is given to [Follow].
func Prepare(host Host, opt *redis.ClusterOptions) *redis.ClusterOptions {
	c := newClient(host)
	c.prepared = true
	prepared, inner := *opt, opt.NewClient
	if inner == nil {
		inner = redis.NewClient
	}
	prepared.NewClient = func(node *redis.Options) *redis.Client {
		n := c.newNode(node.Addr)
		node.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx) }
		client := inner(node)
		client.AddHook(n)
		return client
	}
	return &prepared
}

// dial has the host dial, if the client is known to follow.
func (n *Node) dial(ctx context.Context) (net.Conn, error) {
	if n.client.client.Load() == nil {
		return nil, errNotFollowing
	}
	return n.client.host.Dial(ctx, n)
}

// preparedOf returns what Prepare has made for a client; nil if it has other options. A NewClient of the user's is called once,
// with an address that nobody dials.
func preparedOf(cc *redis.ClusterClient) (*Client, error) {
	construct := cc.Options().NewClient
	if construct == nil || reflect.ValueOf(construct).Pointer() == reflect.ValueOf(redis.NewClient).Pointer() {
		return nil, nil
	}
	node := construct(&redis.Options{Addr: "multidb.invalid:1"})
	defer node.Close()
	if opt := node.Options(); opt.ClientSideCache != nil || opt.ClientSideCacheConfig != nil {
		return nil, errCached
	}
	if hook := hookOf(node); hook != nil {
		return hook.client, nil
	}
	return nil, nil
}

// Prepared reports whether a client has options that [Prepare] has made.
func Prepared(cc *redis.ClusterClient) bool {
	c, err := preparedOf(cc)
	return err == nil && c != nil
}

// Follow makes new nodes of a client follow the host. Nodes that exist are for [Client.Adopt].
func Follow(host Host, cc *redis.ClusterClient) (*Client, error) {
	c, err := preparedOf(cc)
	if err != nil {
		return nil, err
	}
	pointer := weak.Make(cc)
	switch {
	case c == nil:
		c = newClient(host)
		c.client.Store(&pointer)
		cc.OnNewNode(c.hook) // called under a lock of go-redis': it may do nothing but add a hook
	case c.host != host:
		return nil, errOthers
	case !c.client.CompareAndSwap(nil, &pointer):
		return nil, errTwice
	}
	return c, nil
}
