// Package faultproxy is a TCP proxy in front of a redis-server that breaks connections on request: it refuses, hangs,
// delays, resets, cuts replies and answers in the server's place, and it keeps a record of every command it was sent.
//
// [Start] is for tests; [New] is the same without a testing.TB, for programs.
package faultproxy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands in front of one Redis address. It starts in mode [Pass]. Safe for concurrent use.
//
// A server that is down is seen through the proxy as a connection that is accepted and then reset, which net.Dial may report
// already; for refused dials there is [Proxy.Refuse]. A reply is passed on when it is complete, or when the server is gone.
type Proxy struct {
	upstream  string
	addr      string
	transport Transport
	report    func(error) // what the methods without an error result do with one
	gate      gate
	faults    faults
	log       log

	open atomic.Int64 // connections whose client has not gone

	mu       sync.Mutex
	mode     Mode               // Guarded by mu
	listener net.Listener       // Guarded by mu; nil while dials are refused and after Close
	conns    map[*conn]struct{} // Guarded by mu
	lastID   uint64             // Guarded by mu
	closed   bool               // Guarded by mu

	wg sync.WaitGroup // every goroutine; Add needs mu and an open proxy, or a goroutine that is counted already
}

// Option changes how a [Proxy] is made.
type Option func(*config)

type config struct {
	listen    string
	seed      uint64
	transport Transport
	report    func(error)
}

// Listen makes the proxy listen on a given address instead of a free loopback port.
func Listen(addr string) Option { return func(c *config) { c.listen = addr } }

// Seed makes [Proxy.ResetOneIn] choose other requests. The choice is the same for the same seed and order of requests.
func Seed(seed uint64) Option { return func(c *config) { c.seed = seed } }

// Report makes the methods without an error result call f with one, in place of a panic. [Start] has a Report of its own.
func Report(f func(error)) Option { return func(c *config) { c.report = f } }

// Start starts a proxy for a test and closes it with the test. What goes wrong later fails the test.
func Start(tb testing.TB, upstream string, opts ...Option) *Proxy {
	tb.Helper()
	p, err := New(upstream, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	p.report = func(err error) { tb.Errorf("%v", err) } // not Fatalf: a test may break its proxies from any goroutine
	tb.Cleanup(p.Close)
	return p
}

// New starts a proxy in front of the address upstream, which need not answer yet.
func New(upstream string, opts ...Option) (*Proxy, error) {
	cfg := config{transport: overTCP, report: func(err error) { panic(err) }}
	for _, opt := range opts {
		opt(&cfg)
	}
	p := &Proxy{
		upstream:  upstream,
		transport: cfg.transport,
		report:    cfg.report,
		conns:     make(map[*conn]struct{}),
	}
	p.faults.rand = rand.New(rand.NewPCG(cfg.seed, 0))
	ln, err := p.transport.listen(cfg.listen)
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p.addr = ln.Addr().String()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve(ln)
	return p, nil
}

// Addr is the address to give to clients. It stays the same whatever the mode.
func (p *Proxy) Addr() string { return p.addr }

// serve requires p.mu.
func (p *Proxy) serve(ln net.Listener) {
	p.listener = ln
	p.wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil && errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // too many open files: what a server does then, too, is to go on
				time.Sleep(time.Millisecond)
				continue
			}
			p.accept(ln, client)
		}
	})
}

func (p *Proxy) accept(ln net.Listener, client net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != ln { // accepted just before it was closed
		abort(client)
		return
	}
	p.lastID++
	c := newConn(p, p.lastID, client)
	p.conns[c] = struct{}{}
	p.log.accepted.Add(1)
	p.open.Add(1)
	c.start()
}

// Reset resets every connection that exists (RST), whatever the mode. One that the client has dialed and the proxy has not
// accepted yet does not exist; it does as soon as anything was answered on it.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killAll(true)
}

// killAll requires p.mu.
func (p *Proxy) killAll(reset bool) {
	for c := range p.conns {
		c.kill(reset)
	}
	clear(p.conns)
}

func (p *Proxy) forget(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// Close ends the listener and all connections and returns when nothing of the proxy runs any more. It must not be called
// from a function that the proxy calls ([Proxy.Answer] and the predicates); everything else may be. Calling it again does
// nothing.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.refuse()
	p.mu.Unlock()
	p.wg.Wait()
}
