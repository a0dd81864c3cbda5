package browser_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/console"
	"github.com/redishook/multidb/internal/tools/browser"
	"github.com/redishook/multidb/multidbtest"
)

func TestMain(m *testing.M) {
	logging.Disable()
	os.Exit(m.Run())
}

// open opens a browser, or skips the test where there is none. In CI there is one.
func open(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	tab, closeBrowser, err := browser.Open(ctx, 1200, 900)
	if errors.Is(err, browser.ErrNone) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(closeBrowser)
	return tab
}

// serve starts a server with the console of a hook, whose buttons everybody may press.
func serve(t *testing.T, hook *multidb.Hook) (url string, server *httptest.Server) {
	t.Helper()
	c := console.New(hook, console.Options{
		Authorize: func(*http.Request) (string, error) { return "alice", nil },
		Logger:    slog.New(slog.DiscardHandler),
	})
	t.Cleanup(c.Close)
	mux := http.NewServeMux()
	mux.Handle("/debug/multidb/", c)
	server = httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/debug/multidb/", server
}

// until waits for the page to say something by itself.
func until(t *testing.T, tab context.Context, condition string) {
	t.Helper()
	_, err := chromedp.Run(tab, chromedp.Poll[bool]("(() => "+condition+")()", chromedp.WithPollingTimeout(30*time.Second)))
	text, _ := chromedp.Run(tab, chromedp.Text("body"))
	require.NoError(t, err, "%s never came true; the page:\n%s", condition, text)
}

func evaluate[T any](t *testing.T, tab context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](expression))
	require.NoError(t, err)
	return v
}

// watcher notes what the page asks for, and what the browser complains about.
type watcher struct {
	mu         sync.Mutex
	requests   []string
	complaints []string
}

func watch(t *testing.T, tab context.Context) *watcher {
	t.Helper()
	w := &watcher{}
	_, err := chromedp.Call(tab, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	requests := chromedp.Events(tab, network.RequestWillBeSent)
	go func() {
		for ev, err := range requests {
			if err != nil {
				return
			}
			w.mu.Lock()
			w.requests = append(w.requests, ev.Request.URL)
			w.mu.Unlock()
		}
	}()
	_, err = chromedp.Call(tab, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	entries := chromedp.Events(tab, log.EntryAdded)
	go func() {
		for ev, err := range entries {
			if err != nil {
				return
			}
			w.mu.Lock()
			w.complaints = append(w.complaints, fmt.Sprint(ev.Entry.Level, ": ", ev.Entry.Text, " ", ev.Entry.URL))
			w.mu.Unlock()
		}
	}()
	return w
}

func TestConsoleInABrowser(t *testing.T) {
	tab := open(t)
	pair := multidbtest.NewPair(t)
	url, server := serve(t, pair.Hook)
	seen := watch(t, tab)
	asked := browser.AcceptDialogs(tab)
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(url)))
	until(t, tab, `document.querySelector("h1").textContent === "east is active"`)
	until(t, tab, `document.querySelector("#picture svg") !== null`)

	// A database dies, and the page says so without being loaded again. What is being typed is not lost.
	evaluate[bool](t, tab, `(() => { window.sameDocument = true; document.querySelectorAll("input[name=weight]")[1].value = "0.7"; return true })()`)
	pair.East.DieAfter("INCR")
	require.Error(t, pair.Client.Incr(t.Context(), "orders").Err())
	until(t, tab, `document.querySelector("h1").textContent === "west is active, east is UNUSABLE"`)
	until(t, tab, `document.title.startsWith("west is active, east is UNUSABLE")`)
	until(t, tab, `document.querySelector("#facts-0 .trouble").textContent.includes("connection refused")`)
	until(t, tab, `document.querySelector("#facts-0 .waits").textContent.includes("its health checks to pass")`)
	until(t, tab, `document.querySelector("#events").textContent.includes("Failover east → west")`)
	until(t, tab, `document.querySelector("#picture .marktext") !== null`)
	require.True(t, evaluate[bool](t, tab, `window.sameDocument === true`))
	require.Equal(t, "0.7", evaluate[string](t, tab, `document.querySelectorAll("input[name=weight]")[1].value`))

	// A button that cannot do what it says, and the same one when it can.
	press := func(database, action string) {
		require.NoError(t, chromedp.Do(tab, chromedp.Click(`[data-database="`+database+`"] button[value=`+action+`]`)))
	}
	press("east", "switch")
	until(t, tab, `document.querySelector("#notice").textContent.startsWith("not done: multidb: database \"east\" is not healthy")`)
	require.Equal(t, "west", pair.Hook.Active())
	pair.East.Restore()
	press("east", "switch")
	until(t, tab, `document.querySelector("#notice").textContent === "east is active and pinned"`)
	require.Equal(t, "east", pair.Hook.Active())
	require.Equal(t, "east", pair.Hook.Stats().Held)
	until(t, tab, `document.querySelector("#pin").textContent.includes("east is pinned by hand")`)
	require.NoError(t, chromedp.Do(tab, chromedp.Click(`#pin button[value=release]`)))
	until(t, tab, `document.querySelector("#pin").textContent.trim() === ""`)
	require.Empty(t, pair.Hook.Stats().Held)
	press("west", "weight")
	until(t, tab, `document.querySelector("#facts-1 .where").textContent.includes("weight 0.7")`)
	require.Equal(t, 0.7, pair.Hook.Stats().Databases[1].Weight)
	press("west", "force")
	until(t, tab, `document.querySelector("h1").textContent === "west is active, pinned by hand"`)
	require.Equal(t, "west", pair.Hook.Active())
	until(t, tab, `document.querySelector("#events").textContent.includes("west is active, forced, and pinned until Release, by alice")`)
	require.Len(t, asked(), 5, "each button asks before it acts")
	require.Contains(t, asked()[0], "Switch to east?")

	// Nothing but the page itself has been asked for, and the browser has nothing against it.
	seen.mu.Lock()
	for _, request := range seen.requests {
		require.True(t, strings.HasPrefix(request, url), request)
	}
	require.NotEmpty(t, seen.requests)
	complaints := strings.Join(seen.complaints, "\n")
	seen.mu.Unlock()
	require.NotContains(t, complaints, "Content Security Policy")
	require.Equal(t, 1, strings.Count(complaints, "error: "), "the button that could not: %s", complaints)

	// It fits the screen of a phone.
	require.NoError(t, chromedp.Do(tab, chromedp.EmulateViewport(390, 800)))
	require.LessOrEqual(t, evaluate[int](t, tab, `document.documentElement.scrollWidth`), 390)
	png, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(t.ArtifactDir()+"/phone.png", png, 0o600))

	// A process that is gone leaves no page that looks alive.
	server.CloseClientConnections()
	server.Close()
	until(t, tab, `!document.querySelector("#lost").hidden && document.querySelector("#lost").textContent.includes("What you see is old")`)
}

// Another site sends a form to the console, with whatever the browser would send along. It is refused.
func TestCrossSiteFormInABrowser(t *testing.T) {
	tab := open(t)
	pair := multidbtest.NewPair(t)
	url, _ := serve(t, pair.Hook)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form id="f" method="post" action="%s"><input name="action" value="switch"><input name="database" value="west"></form>
			<script>document.getElementById("f").submit()</script>`, html.EscapeString(url))
	}))
	defer evil.Close()
	elsewhere := strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(elsewhere)))
	until(t, tab, `document.body.textContent.includes("refused: cross-origin request detected")`)
	require.Equal(t, "east", pair.Hook.Active())
	require.Empty(t, pair.Switches())
}

// A name that is markup is text, in the page, in its attributes and in the picture.
func TestMarkupInNamesInABrowser(t *testing.T) {
	const name = `"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`
	tab := open(t)
	pair := multidbtest.NewPair(t)
	dbs := pair.Databases()
	dbs[0].Name = name
	hook, err := multidb.New(t.Context(), multidb.Options{
		Databases: dbs, Initial: multidb.InitialAll, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer hook.Close()
	url, _ := serve(t, hook)
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(url)))
	require.NoError(t, hook.SetActive(t.Context(), "west"))
	require.NoError(t, hook.SetActive(t.Context(), name))
	until(t, tab, `document.querySelector("#picture .marktext") !== null`)
	require.Equal(t, name+" is active, pinned by hand", evaluate[string](t, tab, `document.querySelector("h1").textContent`))
	require.Equal(t, name, evaluate[string](t, tab, `document.querySelector("[data-database]").dataset.database`))
	require.Equal(t, 0, evaluate[int](t, tab, `document.querySelectorAll("img").length`))
	require.Equal(t, "undefined", evaluate[string](t, tab, `typeof window.hacked`))
}
