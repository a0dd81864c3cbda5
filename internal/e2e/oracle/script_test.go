package oracle_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/memnet"
	"github.com/redishook/multidb/internal/testkit/scripted"
)

// How the first attempt of a case ends, and what the database of the second one answers: the two sides of the table.

// ending is how the first attempt ends.
type ending struct {
	name    string
	refusal string // an error reply; certainly nothing was executed
	unsent  bool   // the socket takes no byte
	lost    bool   // executed; the connection ends without the reply
}

var endings = []ending{
	{name: "READONLY", refusal: "READONLY You can't write against a read only replica."},
	{name: "LOADING", refusal: "LOADING Redis is loading the dataset in memory"},
	{name: "MASTERDOWN", refusal: "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."},
	{name: "CLUSTERDOWN", refusal: "CLUSTERDOWN The cluster is down"},
	{name: "TRYAGAIN", refusal: "TRYAGAIN Multiple keys request during rehashing of slot"},
	{name: "NOREPLICAS", refusal: "NOREPLICAS Not enough good replicas to write."},
	{name: "MISCONF", refusal: "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."},
	{name: "max clients", refusal: "ERR max number of clients reached"},
	{name: "not sent", unsent: true},
	{name: "reply lost", lost: true},
}

// answer is what the second database answers.
type answer struct {
	name  string
	reply func(scripted.Request) string
}

func fixed(reply string) func(scripted.Request) string {
	return func(scripted.Request) string { return reply }
}

var answers = []answer{
	{"value", fixed(scripted.Bulk("v"))},
	{"integer", fixed(scripted.Int(5))},
	{"status", fixed(scripted.OK)},
	{"nil", scripted.Request.Nil},
	{"nil array", scripted.Request.NilArray},
	{"empty array", fixed(scripted.Array())},
	{"empty map", func(r scripted.Request) string { return r.Map() }},
	{"map", func(r scripted.Request) string { return r.Map("f", scripted.Bulk("v"), "n", scripted.Int(1)) }},
	{"nested with an error", fixed(scripted.Array(scripted.Bulk("a"), scripted.Error("ERR inside"), scripted.Array(scripted.Int(1))))},
	{"WRONGTYPE", fixed(scripted.Error("WRONGTYPE Operation against a key holding the wrong kind of value"))},
	{"OOM", fixed(scripted.Error("OOM command not allowed when used memory > 'maxmemory'."))},
	{"NOPERM", fixed(scripted.Error("NOPERM User default has no permissions to run the command"))},
	{"NOSCRIPT", fixed(scripted.Error("NOSCRIPT No matching script."))},
	{"unknown error", fixed(scripted.Error("FOO bar"))},
}

// database is one scripted server, on which one case runs at a time.
type database struct {
	network memnet.Network

	unsent atomic.Bool // the next write of a client fails before its first byte

	mu     sync.Mutex
	first  ending
	ends   int  // requests that the first attempt still ends
	all    bool // company is refused as well
	reply  func(scripted.Request) string
	queued map[uint64][]scripted.Request // by connection, between MULTI and EXEC
	ran    int                           // executions of the command that is tried
}

func newDatabase(t testing.TB) *database {
	d := &database{queued: map[uint64][]scripted.Request{}}
	ln, err := d.network.Listen(address)
	require.NoError(t, err)
	scripted.Serve(t, ln, d.answer)
	return d
}

// script prepares a case: the first requests of a way to run it end as first says.
func (d *database) script(first ending, way shape, reply func(scripted.Request) string) {
	d.mu.Lock()
	d.first, d.ends, d.all, d.reply, d.ran = first, way.ends, !way.partly, reply, 0
	clear(d.queued)
	d.mu.Unlock()
	d.unsent.Store(first.unsent)
}

// executions is how often the command that is tried was executed.
func (d *database) executions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ran
}

// beside are the keys of commands that are there for company.
const beside = "beside:"

func (d *database) answer(r scripted.Request) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Name == "watch" || r.Name == "unwatch" {
		return scripted.OK
	}
	if isProbe(r) {
		return scripted.Int(0)
	}
	if d.first.refusal != "" && d.ends > 0 && (d.all || !isBeside(r)) {
		d.ends--
		if r.Name == "exec" || r.Name == "discard" {
			delete(d.queued, r.Conn)
		}
		return scripted.Error(d.first.refusal)
	}
	switch _, inside := d.queued[r.Conn]; {
	case r.Name == "multi":
		d.queued[r.Conn] = []scripted.Request{}
		return scripted.OK
	case r.Name == "discard":
		delete(d.queued, r.Conn)
		return scripted.OK
	case r.Name == "exec":
		var replies []string
		for _, q := range d.queued[r.Conn] {
			replies = append(replies, d.execute(q))
		}
		delete(d.queued, r.Conn)
		return d.lose(scripted.Array(replies...))
	case inside:
		d.queued[r.Conn] = append(d.queued[r.Conn], r)
		return scripted.Queued
	}
	if isBeside(r) {
		return d.execute(r)
	}
	return d.lose(d.execute(r))
}

// isProbe tells the write that a prober asks for from the requests of a case: the endings of a case are counted.
func isProbe(r scripted.Request) bool {
	return r.Name == "publish" && r.Args[1] == "multidb:nobody"
}

func isBeside(r scripted.Request) bool {
	return len(r.Args) > 1 && strings.HasPrefix(r.Args[1], beside)
}

func (d *database) execute(r scripted.Request) string {
	if isBeside(r) {
		return scripted.Bulk(r.Args[1])
	}
	d.ran++
	return d.reply(r)
}

func (d *database) lose(reply string) string {
	if d.first.lost && d.ends > 0 {
		d.ends = 0
		return scripted.Hangup
	}
	return reply
}

// dial makes connections on which one write can be made to fail, as that to a connection that was reset.
func (d *database) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := d.network.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &failing{nc, d}, nil
}

const address = "127.0.0.1:6379"

type failing struct {
	net.Conn
	database *database
}

var errReset = &net.OpError{Op: "write", Net: "tcp", Err: errors.Join(syscall.ECONNRESET)}

func (f *failing) Write(p []byte) (int, error) {
	if f.database.unsent.CompareAndSwap(true, false) {
		return 0, errReset
	}
	return f.Conn.Write(p)
}
