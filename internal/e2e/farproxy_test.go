package e2e_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// farProxy forwards TCP and understands nothing, so that TLS passes: what the server sends arrives later by distance.
type farProxy struct {
	net.Listener
	upstream string
	distance atomic.Int64 // ns, there and back
	silent   atomic.Bool  // connections accepted from now on are never answered

	mu        sync.Mutex
	conns     map[net.Conn]net.Conn
	forgotten map[net.Conn]bool // by the side of the client
}

func startFar(t testing.TB, upstream string, distance time.Duration) *farProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &farProxy{Listener: l, upstream: upstream, conns: make(map[net.Conn]net.Conn), forgotten: make(map[net.Conn]bool)}
	p.distance.Store(int64(distance))
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); p.reset(); all.Wait() })
	all.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", p.upstream)
			if err != nil {
				_ = down.Close()
				continue
			}
			p.mu.Lock()
			p.conns[down] = up
			p.mu.Unlock()
			all.Go(func() { p.serve(down, up, p.silent.Load()) })
		}
	})
	return p
}

func (p *farProxy) serve(down, up net.Conn, silent bool) {
	type chunk struct {
		at time.Time
		b  []byte
	}
	late := make(chan chunk, 1024)
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		defer close(late)
		for {
			b := make([]byte, 32<<10)
			n, err := up.Read(b)
			if n > 0 && !silent {
				late <- chunk{time.Now().Add(time.Duration(p.distance.Load())), b[:n]}
			}
			if err != nil {
				return
			}
		}
	})
	all.Go(func() {
		for c := range late {
			time.Sleep(time.Until(c.at))
			if !p.isForgotten(down) {
				_, _ = down.Write(c.b)
			}
		}
		if !silent {
			_ = down.Close()
		}
	})
	b := make([]byte, 32<<10)
	for {
		n, err := down.Read(b)
		if n > 0 && !silent && !p.isForgotten(down) {
			_, _ = up.Write(b[:n])
		}
		if err != nil {
			break
		}
	}
	_ = up.Close()
	_ = down.Close()
	p.mu.Lock()
	delete(p.conns, down)
	p.mu.Unlock()
}

// reset resets every connection that exists. New ones are accepted and work.
func (p *farProxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for down, up := range p.conns {
		_ = down.(*net.TCPConn).SetLinger(0)
		_ = down.Close()
		_ = up.Close()
	}
}

// forget swallows, from now on, what is sent over the connections that exist. New ones work.
func (p *farProxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for down := range p.conns {
		p.forgotten[down] = true
	}
}

func (p *farProxy) isForgotten(down net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.forgotten[down]
}

// dialer dials as over a way of that distance: the packets of TCP take their time, too.
func (p *farProxy) dialer(server *redistest.Redis) goredis.Dialer {
	next := (&net.Dialer{}).DialContext
	if config := server.TLSConfig(); config != nil {
		next = goredis.TLSDialer(nil, config)
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-time.After(time.Duration(p.distance.Load())):
			return next(ctx, network, addr)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
