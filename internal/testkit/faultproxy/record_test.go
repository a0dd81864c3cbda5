package faultproxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

func lines(commands []faultproxy.Command) []string {
	var all []string
	for _, c := range commands {
		all = append(all, strings.Join(c.Args, " "))
	}
	return all
}

func TestRecordHoldsCredentialsAndSessionCommandsAsSent(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.Users("alice on >wonder ~* &* +@all"))
	p := faultproxy.Start(t, r.Addr())
	before := time.Now()
	p.Record(true)
	c := client(t, p, func(opt *redis.Options) {
		opt.Username, opt.Password, opt.DB, opt.DisableIdentity = "alice", "wonder", 5, true
	})
	require.NoError(t, c.Set(t.Context(), "k", "a b\r\n", 0).Err())

	got := p.Commands()
	all := lines(got)
	assert.Equal(t, "hello 3 auth alice wonder", all[0])
	assert.Contains(t, all, "select 5")
	assert.Equal(t, []string{"set", "k", "a b\r\n"}, got[len(got)-1].Args)
	assert.Equal(t, "SET", got[len(got)-1].Name())
	for i, command := range got {
		assert.EqualValues(t, 1, command.Conn)
		assert.True(t, command.Forwarded)
		assert.False(t, command.At.Before(before))
		before = got[i].At
	}
	p.Record(false)
	require.NoError(t, c.Get(t.Context(), "k").Err())
	assert.Len(t, p.Commands(), len(got))
	p.Record(true)
	assert.Empty(t, p.Commands())
}

func TestRecordTellsConnectionsApartAndWhatTheServerHas(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	p.Record(true)
	p.Answer(func(args []string) (string, bool) { return "+ok\r\n", args[0] == "ECHO" })
	p.ResetOneIn(1, faultproxy.BeforeExecution, func(args []string) bool { return args[0] != "INCR" })
	one := dial(t, p)
	one.send("PING\r\nECHO x\r\nPING\r\n")
	one.expect("+PONG\r\n+ok\r\n+PONG\r\n")
	two := dial(t, p)
	two.send("PING\r\nINCR n\r\n")
	two.expect("+PONG\r\n")

	type seen struct {
		conn      uint64
		line      string
		forwarded bool
	}
	var got []seen
	require.Eventually(t, func() bool { return len(p.Commands()) == 5 }, patience, time.Millisecond)
	for _, c := range p.Commands() {
		got = append(got, seen{c.Conn, strings.Join(c.Args, " "), c.Forwarded})
	}
	assert.Equal(t, []seen{
		{1, "PING", true}, {1, "ECHO x", false}, {1, "PING", true}, {2, "PING", true}, {2, "INCR n", false},
	}, got)
}

func TestCommandIsOnRecordBeforeItsAnswerCanBeSeen(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	p.Answer(func(args []string) (string, bool) { return "+own\r\n", args[0] == "ECHO" })
	for range 20 {
		p.Record(true)
		conn := dial(t, p)
		conn.send("ECHO x\r\n" + strings.Repeat("PING\r\n", 4000)) // the latter are to keep the proxy busy
		conn.expect("+own\r\n")
		assert.NotEmpty(t, p.Commands())
		conn.expect(strings.Repeat("+PONG\r\n", 4000))
	}
}
