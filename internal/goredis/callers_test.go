package goredis

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit"
)

// pipeConn is a connection to a server of the test that calls asked before each write.
type pipeConn struct {
	net.Conn
	wrote, reads func(p string)
}

func (c *pipeConn) Write(p []byte) (int, error) {
	if c.wrote != nil {
		c.wrote(strings.ToLower(string(p)))
	}
	return c.Conn.Write(p)
}

func (c *pipeConn) Read(p []byte) (int, error) {
	if c.reads != nil {
		c.reads("")
	}
	return c.Conn.Read(p)
}

// answerOK answers each request with OK, and HELLO with an error.
func answerOK(nc net.Conn) {
	defer nc.Close()
	rd := bufio.NewReader(nc)
	for {
		line, err := rd.ReadString('\n')
		if err != nil {
			return
		}
		var n int
		_, _ = fmt.Sscanf(line, "*%d", &n)
		reply := "+OK\r\n"
		for i := range n {
			_, _ = rd.ReadString('\n')
			arg, _ := rd.ReadString('\n')
			if i == 0 && strings.EqualFold(strings.TrimSpace(arg), "hello") {
				reply = "-ERR unknown command\r\n"
			}
		}
		if _, err := nc.Write([]byte(reply)); err != nil {
			return
		}
	}
}

func client(t *testing.T, opt *redis.Options, wrote, reads func(string)) *redis.Client {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go answerOK(nc)
		}
	}()
	opt.Dialer = func(context.Context, string, string) (net.Conn, error) {
		nc, err := net.Dial("tcp", ln.Addr().String())
		return &pipeConn{nc, wrote, reads}, err
	}
	opt.DisableIdentity, opt.Protocol = true, 2
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestTheHandshakesSelectIsToldFromAUsers(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	wrote := func(p string) {
		if strings.Contains(p, "select") {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprintf("%v %v", InOptionPipeline(), InHandshake()))
		}
	}
	ctx := context.Background()
	rdb := client(t, &redis.Options{DB: 3}, wrote, nil)
	require.NoError(t, rdb.Ping(ctx).Err())
	require.Equal(t, []string{"true true"}, seen, "of the handshake")

	seen = nil
	require.NoError(t, rdb.WithTimeout(time.Second).Ping(ctx).Err())
	rdb = client(t, &redis.Options{OnConnect: func(ctx context.Context, cn *redis.Conn) error { return cn.Select(ctx, 3).Err() }}, wrote, nil)
	require.NoError(t, rdb.Ping(ctx).Err())
	require.Equal(t, []string{"false true"}, seen, "of OnConnect")

	seen = nil
	rdb = client(t, &redis.Options{OnConnect: func(ctx context.Context, cn *redis.Conn) error {
		_, err := cn.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Select(ctx, 3).Err() })
		return err
	}}, wrote, nil)
	require.NoError(t, rdb.Ping(ctx).Err())
	require.Equal(t, []string{"false true"}, seen, "of OnConnect in a pipeline")

	seen = nil
	rdb = client(t, &redis.Options{}, wrote, nil)
	conn := rdb.Conn()
	defer conn.Close()
	require.NoError(t, conn.Select(ctx, 3).Err())
	require.Equal(t, []string{"false false"}, seen, "of a Conn")
}

func TestSessionsAreToldFromTheClient(t *testing.T) {
	var mu sync.Mutex
	var seen []bool
	rdb := client(t, &redis.Options{}, func(p string) {
		if strings.Contains(p, "asked") {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, OnSession())
		}
	}, nil)
	ctx := context.Background()
	require.NoError(t, rdb.Do(ctx, "asked").Err())
	conn := rdb.Conn()
	defer conn.Close()
	require.NoError(t, conn.Do(ctx, "asked").Err())
	require.NoError(t, conn.Ping(ctx).Err())
	require.NoError(t, rdb.Watch(ctx, func(tx *redis.Tx) error { return tx.Do(ctx, "asked").Err() }))
	require.Equal(t, []bool{false, true, true}, seen)
}

// lookingOn notes whether each call of a process hook only looks on.
type lookingOn struct{ seen chan bool }

func (lookingOn) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h lookingOn) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "touch" {
			h.seen <- OnlyLooksOn()
		}
		return next(ctx, cmd)
	}
}
func (lookingOn) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestFullDuplexIsToldFromOtherReaders(t *testing.T) {
	var mu sync.Mutex
	duplex, asked := false, false
	rdb := client(t, &redis.Options{}, func(p string) {
		mu.Lock()
		defer mu.Unlock()
		asked = asked || strings.Contains(p, "touch")
	}, func(string) {
		mu.Lock()
		defer mu.Unlock()
		duplex = duplex || InFullDuplex()
	})
	h := lookingOn{make(chan bool, 10)}
	rdb.AddHook(h)
	ctx := context.Background()
	require.NoError(t, rdb.Do(ctx, "touch").Err())
	require.False(t, duplex)
	require.False(t, <-h.seen)
	ap, err := rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true})
	require.NoError(t, err)
	require.Error(t, ap.Touch(ctx, "k").Err(), "OK is no number")
	require.NoError(t, ap.Close())
	require.True(t, asked)
	require.True(t, duplex)
	require.True(t, <-h.seen)
}

func TestTheHandshakesSelectIsKnownBehindAGoroutine(t *testing.T) {
	var seen []bool
	rdb := client(t, &redis.Options{DB: 3}, func(p string) {
		if strings.Contains(p, "select") {
			seen = append(seen, InOptionPipeline()) // one connection
		}
	}, nil)
	rdb.AddHook(testkit.Aside{})
	require.NoError(t, rdb.Ping(t.Context()).Err())
	require.Equal(t, []bool{true}, seen)
}

func TestNobodyIsToldWhereGoRedisIsNotOnTheStack(t *testing.T) {
	require.False(t, InFullDuplex() || OnlyLooksOn() || InHandshake() || OnSession())
	require.True(t, InOptionPipeline(), "what nobody has called for is the options")
}
