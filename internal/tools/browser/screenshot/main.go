// Command screenshot makes docs/console.png: the console of a hook whose active database has just died, as a browser shows
// it to somebody who may act.
//
//	go run ./screenshot ../../../docs/console.png
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9/logging"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/console"
	"github.com/redishook/multidb/internal/tools/browser"
	"github.com/redishook/multidb/multidbtest"
)

func main() {
	logging.Disable()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: screenshot FILE")
		os.Exit(2)
	}
	png, err := shoot(context.Background())
	if err == nil {
		err = os.WriteFile(os.Args[1], png, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "screenshot:", err)
		os.Exit(1)
	}
}

// shoot lets a service run for a minute and a half and takes the picture.
func shoot(ctx context.Context) (png []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	pair, err := multidbtest.Open(multidbtest.Config{Options: multidb.Options{Name: "orders", Logger: slog.New(slog.DiscardHandler)}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pair.Close()) }()
	c := console.New(pair.Hook, console.Options{
		Authorize: func(*http.Request) (string, error) { return "alice", nil },
		Logger:    slog.New(slog.DiscardHandler),
	})
	defer c.Close()
	pair.Client.AddHook(c.Timer())
	server := httptest.NewServer(c)
	defer server.Close()
	tab, closeBrowser, err := browser.Open(ctx, 1200, 900)
	if err != nil {
		return nil, err
	}
	defer closeBrowser()

	loadCtx, endLoad := context.WithCancel(ctx)
	defer endLoad()
	startLoad(loadCtx, pair)
	for _, s := range []struct {
		after time.Duration
		do    func()
	}{
		{20 * time.Second, func() { press(server.URL, "switch", "west") }},
		{12 * time.Second, func() { press(server.URL, "release", "") }},
		{23 * time.Second, func() { pair.East.DieAfter("INCR") }},
		{14 * time.Second, func() {}},
	} {
		time.Sleep(s.after)
		s.do()
	}
	if err := chromedp.Do(tab, browser.Dark, chromedp.Navigate(server.URL), chromedp.Sleep(1500*time.Millisecond)); err != nil {
		return nil, err
	}
	return chromedp.Run(tab, chromedp.FullScreenshot(100))
}

// press presses a button, as a form does.
func press(url, action, database string) {
	answer, err := http.PostForm(url, map[string][]string{"action": {action}, "database": {database}})
	if err == nil {
		_ = answer.Body.Close()
	}
}

// startLoad is a service: commands that rise and fall a little.
func startLoad(ctx context.Context, pair *multidbtest.Pair) {
	for i := range 10 {
		go func() {
			for n := 0; ctx.Err() == nil; n++ {
				_ = pair.Client.Set(ctx, fmt.Sprint("k", i), n, 0).Err()
				time.Sleep(time.Duration(6+n/200%3) * time.Millisecond)
				if n%5 == 0 {
					_ = pair.Client.Incr(ctx, "orders").Err()
				}
				_ = pair.Client.Get(ctx, fmt.Sprint("k", i)).Err()
			}
		}()
	}
}
