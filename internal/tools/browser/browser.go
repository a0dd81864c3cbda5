// Package browser opens pages in a real Chromium without a window, for tests and for pictures of the documentation. It is a
// module of its own: what it needs is nothing that a user of multidb should get.
package browser

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// ErrNone is that there is no browser on this machine.
var ErrNone = errors.New("no chromium and no google-chrome on PATH")

// find returns the path of a browser.
func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNone
}

// Open starts a browser with a profile of its own, and nothing that would call anybody. cancel ends it and removes the
// profile. The error is ErrNone where there is none.
func Open(ctx context.Context, width, height int) (tab context.Context, cancel func(), err error) {
	path, err := find()
	if err != nil {
		return nil, nil, err
	}
	profile, err := os.MkdirTemp("", "multidb-browser-")
	if err != nil {
		return nil, nil, err
	}
	allocator, endAllocator := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.Headless,
		chromedp.NoSandbox, // as root there is none
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.WindowSize(width, height),
	)
	tab, endTab := chromedp.NewContext(allocator)
	cancel = func() {
		_ = chromedp.Cancel(tab) // waits for the browser to end
		endTab()
		endAllocator()
		_ = os.RemoveAll(profile)
	}
	if err := chromedp.Do(tab, chromedp.EmulateViewport(int64(width), int64(height))); err != nil {
		cancel()
		return nil, nil, err
	}
	return tab, cancel, nil
}

// Dark makes pages look as they do for somebody who prefers a dark screen.
func Dark(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
	_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	return chromedp.Void{}, err
}

// AcceptDialogs says yes to each question of the page, and returns what has been asked so far.
func AcceptDialogs(tab context.Context) (asked func() []string) {
	var mu sync.Mutex
	var all []string
	dialogs := chromedp.Events(tab, page.JavascriptDialogOpening)
	go func() {
		for ev, err := range dialogs {
			if err != nil {
				return // the tab has ended
			}
			mu.Lock()
			all = append(all, ev.Message)
			mu.Unlock()
			_, _ = chromedp.Call(tab, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}
