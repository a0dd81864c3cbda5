package browser_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/pprof"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/console"
	"github.com/redishook/multidb/multidbtest"
)

// TestCost: with one browser open, under 10,000 operations a second, the console costs at most 1 % of a core. What counts is the
// time on a processor of all its goroutines, those of the server that it stands in included. What a page with 15 minutes in the
// picture costs is measured in package console.
func TestCost(t *testing.T) {
	const rate, workers, most = 10_000, 50, 0.01
	long := 20 * time.Second
	if testing.Short() {
		long = 8 * time.Second
	}
	tab := open(t)
	pair := multidbtest.NewPair(t)

	// Goroutines inherit labels: all that serve the console, and the one that remembers, have this one.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{}
	var c *console.Console
	var served atomic.Int64
	made := make(chan struct{})
	go pprof.Do(context.Background(), pprof.Labels("part", "console"), func(context.Context) {
		c = console.New(pair.Hook, console.Options{Logger: slog.New(slog.DiscardHandler)})
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.Add(1); c.ServeHTTP(w, r) })
		close(made)
		_ = server.Serve(ln)
	})
	<-made
	defer c.Close()
	defer server.Close()
	pair.Client.AddHook(c.Timer())

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done atomic.Int64
	for i := range workers {
		go func() {
			ticker := time.NewTicker(time.Second * workers / rate)
			defer ticker.Stop()
			for ctx.Err() == nil {
				<-ticker.C
				if pair.Client.Set(ctx, fmt.Sprint("k", i), 1, 0).Err() == nil {
					done.Add(1)
				}
			}
		}()
	}
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate("http://"+ln.Addr().String())))
	until(t, tab, `document.querySelector("#picture svg") !== null`)

	var b bytes.Buffer
	before, asked, began := done.Load(), served.Load(), time.Now()
	require.NoError(t, pprof.StartCPUProfile(&b))
	time.Sleep(long) // this is how long it is looked at
	pprof.StopCPUProfile()
	passed := time.Since(began).Seconds()
	reached := float64(done.Load()-before) / passed

	p, err := profile.Parse(&b)
	require.NoError(t, err)
	var ours, all int64
	for _, s := range p.Sample {
		if all += s.Value[1]; s.HasLabel("part", "console") {
			ours += s.Value[1]
		}
	}
	share := float64(ours) / 1e9 / passed
	t.Logf("console: %.2f %% of a core; the process: %.1f %%, at %.0f operations a second", share*100, float64(all)/1e7/passed, reached)
	require.Greater(t, reached, rate*0.1, "the load must have been there")
	require.Greater(t, served.Load(), asked, "the page must have been served")
	// A busy machine does not reach the rate. What the console costs cannot grow faster than the operations do. The profile has a
	// sample each 10 ms, so that two of them may be chance.
	chance := 2 * 0.01 / passed
	require.LessOrEqual(t, (share-chance)*max(1, rate*0.8/reached), most)
}
