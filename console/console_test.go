package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/console"
	"github.com/redishook/multidb/internal/testkit/testmain"
	"github.com/redishook/multidb/multidbtest"
)

func TestMain(m *testing.M) {
	logging.Disable()
	testmain.Run(m)
}

// alice may act, with a token that everybody can guess.
func alice(r *http.Request) (string, error) {
	if r.Header.Get("Authorization") != "Bearer alice" {
		return "", errors.New("nobody is logged in")
	}
	return "alice", nil
}

func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	return send(h, http.MethodGet, target, nil, header...)
}

// send makes one request; header is names and values in turn.
func send(h http.Handler, method, target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newConsole(t *testing.T, pair *multidbtest.Pair, opt console.Options) *console.Console {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	c := console.New(pair.Hook, opt)
	t.Cleanup(c.Close)
	return c
}

func TestPageIsReadOnlyUnlessSomebodyMayAct(t *testing.T) {
	pair := multidbtest.NewPair(t)
	form := url.Values{"action": {"switch"}, "database": {"west"}}

	open := newConsole(t, pair, console.Options{})
	w := get(open, "/debug/multidb/")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "<h1>east is active</h1>")
	require.NotContains(t, w.Body.String(), "<button")
	require.Contains(t, w.Body.String(), "Read only")
	w = send(open, http.MethodPost, "/debug/multidb/", form)
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, "east", pair.Hook.Active())

	guarded := newConsole(t, pair, console.Options{Authorize: alice})
	require.NotContains(t, get(guarded, "/").Body.String(), "<button")
	require.Contains(t, get(guarded, "/", "Authorization", "Bearer alice").Body.String(), "<button")
	w = send(guarded, http.MethodPost, "/", form)
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), "nobody is logged in")
	require.Equal(t, "east", pair.Hook.Active())
	require.Empty(t, pair.Switches())
}

func TestActions(t *testing.T) {
	pair := multidbtest.NewPair(t)
	log := &syncBuffer{}
	c := newConsole(t, pair, console.Options{Authorize: alice, Logger: slog.New(slog.NewTextHandler(log, nil))})
	act := func(form url.Values) (int, string) {
		w := send(c, http.MethodPost, "/", form, "Authorization", "Bearer alice", "Accept", "application/json")
		var said struct {
			OK   bool
			Text string
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &said))
		require.Equal(t, w.Code == http.StatusOK, said.OK)
		return w.Code, said.Text
	}

	code, said := act(url.Values{"action": {"switch"}, "database": {"west"}})
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "west is active and pinned", said)
	require.Equal(t, "west", pair.Hook.Active())
	require.Equal(t, "west", pair.Hook.Stats().Held)
	require.Contains(t, log.String(), "user=alice")

	code, _ = act(url.Values{"action": {"release"}})
	require.Equal(t, http.StatusOK, code)
	require.Empty(t, pair.Hook.Stats().Held)

	code, said = act(url.Values{"action": {"weight"}, "database": {"west"}, "weight": {"7"}})
	require.Equal(t, http.StatusOK, code, said)
	require.Equal(t, 7.0, pair.Hook.Stats().Databases[1].Weight)

	pair.East.Kill()
	code, said = act(url.Values{"action": {"switch"}, "database": {"east"}})
	require.Equal(t, http.StatusConflict, code)
	require.Contains(t, said, "not healthy")
	// The release has led back to east; its loss, or the weight, leads to west again.
	require.Eventually(t, func() bool { return pair.Hook.Active() == "west" }, 20*time.Second, time.Millisecond)
	pair.East.Restore()
	code, said = act(url.Values{"action": {"force"}, "database": {"east"}, "for": {"1h"}})
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "east is active, forced, and pinned for 1h 0m", said)
	require.Equal(t, "east", pair.Hook.Active())

	for _, wrong := range []struct {
		form url.Values
		code int
		text string
	}{
		{url.Values{"action": {"switch"}, "database": {"north"}}, http.StatusNotFound, `"north"`},
		{url.Values{"action": {"force"}, "database": {"north"}}, http.StatusNotFound, `"north"`},
		{url.Values{"action": {"weight"}, "database": {"north"}, "weight": {"1"}}, http.StatusNotFound, `"north"`},
		{url.Values{"action": {"weight"}, "database": {"east"}, "weight": {"heavy"}}, http.StatusBadRequest, "not a number"},
		{url.Values{"action": {"weight"}, "database": {"east"}, "weight": {"-1"}}, http.StatusBadRequest, "> 0"},
		{url.Values{"action": {"weight"}, "database": {"east"}, "weight": {"NaN"}}, http.StatusBadRequest, "> 0"},
		{url.Values{"action": {"force"}, "database": {"east"}, "for": {"a while"}}, http.StatusBadRequest, "30m"},
		{url.Values{"action": {"drop"}, "database": {"east"}}, http.StatusBadRequest, "no action"},
		{url.Values{}, http.StatusBadRequest, "no action"},
	} {
		code, said := act(wrong.form)
		require.Equal(t, wrong.code, code, "%v: %s", wrong.form, said)
		require.Contains(t, said, wrong.text)
	}
	require.Equal(t, "east", pair.Hook.Active())
}

// A browser that is led here by another site says so. What is no browser does not, and has no cookies that could be abused.
func TestCrossSitePostsAreRefused(t *testing.T) {
	pair := multidbtest.NewPair(t)
	c := newConsole(t, pair, console.Options{Authorize: alice})
	form := url.Values{"action": {"switch"}, "database": {"west"}}
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
	} {
		w := send(c, http.MethodPost, "/", form, append(header, "Authorization", "Bearer alice")...)
		require.Equal(t, http.StatusForbidden, w.Code, "%v", header)
		require.Equal(t, "east", pair.Hook.Active(), "%v", header)
	}
	for _, header := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://example.com"}, nil} {
		w := send(c, http.MethodPost, "/", form, append(header, "Authorization", "Bearer alice")...)
		require.Equal(t, http.StatusOK, w.Code, "%v: %s", header, w.Body)
	}
	require.Equal(t, "west", pair.Hook.Active())
	require.Equal(t, http.StatusMethodNotAllowed, send(c, http.MethodDelete, "/", nil, "Authorization", "Bearer alice").Code)
	require.Equal(t, http.StatusOK, get(c, "/?action=switch&database=east", "Authorization", "Bearer alice").Code)
	require.Equal(t, "west", pair.Hook.Active(), "a GET changes nothing")
}

// Names, addresses and errors come from elsewhere, and may be markup.
func TestHTMLInNamesIsEscaped(t *testing.T) {
	const name = `<script>alert("1")</script><b a='x'>&`
	pair := multidbtest.NewPair(t)
	dbs := pair.Databases()
	dbs[0].Name = name
	hook, err := multidb.New(t.Context(), multidb.Options{
		Name: name, Databases: dbs, Initial: multidb.InitialAll, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer hook.Close()
	c := console.New(hook, console.Options{Authorize: alice, Logger: slog.New(slog.DiscardHandler)})
	defer c.Close()
	require.NoError(t, hook.SetActive(t.Context(), "west"))
	require.NoError(t, hook.SetActive(t.Context(), name))
	require.Eventually(t, func() bool { // two samples make a picture, and the switches have been told
		page := get(c, "/").Body.String()
		return strings.Contains(page, "<svg") && strings.Contains(page, "marktext")
	}, 20*time.Second, 50*time.Millisecond)
	for _, page := range []*httptest.ResponseRecorder{
		get(c, "/", "Authorization", "Bearer alice"),
		send(c, http.MethodPost, "/", url.Values{"action": {"switch"}, "database": {"<script>alert(2)</script>"}}, "Authorization", "Bearer alice"),
		send(c, http.MethodPost, "/", url.Values{"action": {"<script>alert(3)</script>"}}, "Authorization", "Bearer alice"),
	} {
		body := page.Body.String()
		require.Contains(t, body, "&lt;script&gt;")
		require.NotContains(t, strings.ReplaceAll(body, `<script src="?asset=console.js" defer></script>`, ""), "<script")
		require.NotContains(t, body, "<b a=")
	}
}

func TestPageAsksNobodyElse(t *testing.T) {
	pair := multidbtest.NewPair(t)
	c := newConsole(t, pair, console.Options{})
	w := get(c, "/debug/multidb/")
	policy := w.Header().Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	for _, path := range []string{"/", "/?asset=console.css", "/?asset=console.js"} {
		body := get(c, path).Body.String()
		require.NotEmpty(t, body)
		require.NotContains(t, strings.ReplaceAll(body, `xmlns="http://www.w3.org/2000/svg"`, ""), "://", path)
		require.NotContains(t, body, "style=", path)
		require.NotContains(t, body, "onclick", path)
	}
	require.Equal(t, http.StatusNotFound, get(c, "/?asset=console.go").Code)
	require.Equal(t, http.StatusNotFound, get(c, "/?asset=../console.go").Code)
	require.Equal(t, http.StatusBadRequest, get(c, "/?format=xml").Code)
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Equal(t, http.StatusOK, send(c, http.MethodHead, "/", nil).Code)
}

// The JSON of a failover, in virtual time: what was done, what failed, who was told, and what the return waits for.
func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := multidbtest.NewPair(t)
		c := newConsole(t, pair, console.Options{})
		pair.Client.AddHook(c.Timer())
		for range 50 {
			require.NoError(t, pair.Client.Set(t.Context(), "k", 1, 0).Err())
			time.Sleep(100 * time.Millisecond)
		}
		pair.East.DieAfter("INCR")
		require.Error(t, pair.Client.Incr(t.Context(), "n").Err())
		require.NoError(t, pair.Client.Set(t.Context(), "k", 1, 0).Err())
		time.Sleep(3 * time.Second)

		type status struct {
			Stats struct {
				Active    string
				Databases []map[string]any
			}
			Returns []struct {
				Database string
				WaitsFor []string `json:"waits_for"`
			}
			Events []struct {
				Level, Text, Detail, Mark string
			}
			History []struct {
				Active string
				Ops    map[string]float64
				Failed float64 `json:"failed_attempts"`
				Told   float64 `json:"unknown_or_refused"`
				P99    float64 `json:"p99_seconds"`
			}
		}
		read := func(target string) (s status) {
			w := get(c, target)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &s), "%s", w.Body)
			return s
		}
		s := read("/?format=json")
		require.Equal(t, "west", s.Stats.Active)
		require.Contains(t, s.Stats.Databases[0]["last_error"], "connection refused")
		require.Len(t, s.Returns, 1)
		require.Equal(t, "east", s.Returns[0].Database)
		require.Equal(t, "its health checks to pass", s.Returns[0].WaitsFor[0])
		require.Contains(t, s.Returns[0].WaitsFor[1], "the grace period")
		told, ops := 0.0, 0.0
		for _, p := range s.History {
			told += p.Told
			ops += p.Ops["east"] + p.Ops["west"]
		}
		require.Equal(t, 1.0, told, "the caller of INCR was told that it is not known")
		require.Equal(t, 51.0, ops)
		require.Equal(t, "east", s.History[0].Active)
		require.Equal(t, "west", s.History[len(s.History)-1].Active)
		require.Equal(t, 0.0, s.History[0].Failed)
		var texts []string
		for _, e := range s.Events {
			texts = append(texts, e.Text)
		}
		require.Contains(t, strings.Join(texts, "\n"), "east is UNUSABLE")
		require.Regexp(t, `Failover east → west, reason health_check, took `, strings.Join(texts, "\n"))
		require.Len(t, read("/?format=json&samples=2").History, 2)

		pair.East.Restore()
		time.Sleep(8 * time.Second)
		s = read("/?format=json")
		require.Len(t, s.Returns, 1)
		require.Len(t, s.Returns[0].WaitsFor, 1)
		require.Regexp(t, `^\d+s more of good health, the grace period$`, s.Returns[0].WaitsFor[0])
		time.Sleep(30 * time.Second)
		require.Empty(t, read("/?format=json").Returns)

		pair.East.Kill()
		pair.West.Kill()
		require.Error(t, pair.Client.Get(t.Context(), "k").Err())
		time.Sleep(3 * time.Second)
		require.Contains(t, get(c, "/").Body.String(), "NO DATABASE IS USABLE")
	})
}

// Fifteen minutes and a hundred events are kept, and no more.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := multidbtest.NewPair(t)
		c := newConsole(t, pair, console.Options{})
		for range 80 {
			require.NoError(t, pair.Hook.SetActive(t.Context(), "west"))
			require.NoError(t, pair.Hook.SetActive(t.Context(), "east"))
		}
		time.Sleep(20 * time.Minute)
		var s struct{ Events, History []map[string]any }
		require.NoError(t, json.Unmarshal(get(c, "/?format=json").Body.Bytes(), &s))
		require.Len(t, s.Events, 100)
		require.Len(t, s.History, 900)
		require.Contains(t, get(c, "/").Body.String(), "<svg")
	})
}

func TestMemoryEndsWithTheHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := multidbtest.NewPair(t)
		h := console.Handler(pair.Hook, console.Options{})
		require.NoError(t, pair.Hook.Close())
		time.Sleep(time.Second)
		synctest.Wait() // the goroutine has ended, or the bubble would say so at its end
		w := get(h, "/")
		require.Equal(t, http.StatusOK, w.Code)
		_, err := io.ReadAll(w.Body)
		require.NoError(t, err)
	})
	require.PanicsWithValue(t, "multidb/console: New: hook is nil", func() { console.New(nil, console.Options{}) })
}

// A database that is added appears, one that is removed leaves, and the past of both stays.
func TestDatabasesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := multidbtest.NewPair(t)
		c := newConsole(t, pair, console.Options{})
		time.Sleep(3 * time.Second)
		third := pair.Databases()[1]
		third.Name = "north"
		require.NoError(t, pair.Hook.Add(t.Context(), third))
		time.Sleep(3 * time.Second)
		require.Contains(t, get(c, "/").Body.String(), `data-database="north"`)
		require.NoError(t, pair.Hook.Remove(context.Background(), "west"))
		time.Sleep(3 * time.Second)
		body := get(c, "/").Body.String()
		require.NotContains(t, body, `data-database="west"`)
		require.Contains(t, body, ">west<", "in the legend of the picture")
	})
}
