package goredis

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestTheDialerOfAReadyClientIsToldFromAUsers(t *testing.T) {
	for name, opt := range map[string]*redis.Options{"TLS": {TLSConfig: &tls.Config{}}, "TCP": {}, "Unix": {Network: "unix"}} {
		c := redis.NewClient(opt)
		require.True(t, isDefaultDialer(c.Options().Dialer), name)
		require.NoError(t, c.Close())
	}
	require.True(t, isDefaultDialer(redis.NewDialer(&redis.Options{})))
	require.False(t, isDefaultDialer(func(context.Context, string, string) (net.Conn, error) { return nil, nil }))
	failover := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}})
	require.False(t, isDefaultDialer(failover.Options().Dialer), "it asks Sentinel")
	require.NoError(t, failover.Close())
}

// TestADialOverTLSEndsWithItsContext: the other side accepts and says nothing.
func TestADialOverTLSEndsWithItsContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
		}
	})
	defer wg.Wait()
	defer ln.Close()
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // there is nobody to verify
	c := redis.NewClient(&redis.Options{Addr: ln.Addr().String(), TLSConfig: config, DialTimeout: 10 * time.Second})
	defer c.Close()
	for name, own := range map[string]Dialer{"of options": nil, "of a ready client": c.Options().Dialer} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		_, err := TLSDialer(own, config)(ctx, "tcp", ln.Addr().String())
		cancel()
		require.Error(t, err, name)
		require.Less(t, time.Since(began), 5*time.Second, name)
	}
}
