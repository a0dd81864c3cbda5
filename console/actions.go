package console

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/redishook/multidb"
)

// patience bounds an action: a switch asks the database first.
const patience = 10 * time.Second

var errReadOnly = errors.New("this console can only be read: console.Options.Authorize is not set")

// authorize says who sends a request, or why they may not act.
func (c *Console) authorize(r *http.Request) (user string, err error) {
	if c.opt.Authorize == nil {
		return "", errReadOnly
	}
	return c.opt.Authorize(r)
}

// result is the answer to an action.
type result struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// post carries out an action, if it comes from this page and from somebody who may. It answers with the page, or with JSON
// for a script that accepts it.
func (c *Console) post(w http.ResponseWriter, r *http.Request) {
	status, said := c.act(r)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		c.json(w, status, said)
		return
	}
	_, err := c.authorize(r)
	v := c.view(time.Now(), err)
	v.Notice, v.NoticeLevel = said.Text, good
	if !said.OK {
		v.NoticeLevel = bad
	}
	c.page(w, status, v)
}

func (c *Console) act(r *http.Request) (status int, said result) {
	if err := c.crossOrigin.Check(r); err != nil {
		c.opt.Logger.Info("multidb console: refused", "from", r.RemoteAddr, "error", err)
		return http.StatusForbidden, result{Text: "refused: " + err.Error()}
	}
	user, err := c.authorize(r)
	if err != nil {
		c.opt.Logger.Info("multidb console: refused", "from", r.RemoteAddr, "user", user, "error", err)
		return http.StatusForbidden, result{Text: "refused: " + err.Error()}
	}
	r.Body = http.MaxBytesReader(nil, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		return http.StatusBadRequest, result{Text: "the request cannot be read: " + err.Error()}
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	done, err := c.carryOut(ctx, r.PostForm.Get("action"), r.PostForm.Get)
	if err != nil {
		c.opt.Logger.Info("multidb console: not done", "from", r.RemoteAddr, "user", user,
			"action", r.PostForm.Get("action"), "database", r.PostForm.Get("database"), "error", err)
		return statusOf(err), result{Text: "not done: " + text(err)}
	}
	c.opt.Logger.Info("multidb console: done", "from", r.RemoteAddr, "user", user, "action", done)
	by := "by hand"
	if user != "" {
		by = "by " + user
	}
	c.events.add(event{Level: quiet, Text: done + ", " + by})
	return http.StatusOK, result{OK: true, Text: done}
}

// errRequest is what is wrong with a request.
type errRequest struct{ text string }

func (e errRequest) Error() string { return e.text }

func statusOf(err error) int {
	var request errRequest
	switch {
	case errors.Is(err, multidb.ErrUnknownDatabase):
		return http.StatusNotFound
	case errors.As(err, &request):
		return http.StatusBadRequest
	}
	return http.StatusConflict
}

// carryOut does what is asked for and says what it has done.
func (c *Console) carryOut(ctx context.Context, action string, field func(string) string) (done string, err error) {
	database := field("database")
	switch action {
	case "switch":
		return database + " is active and pinned", c.hook.SetActive(ctx, database)
	case "force":
		d, err := duration(field("for"))
		if err != nil {
			return "", err
		}
		until := "until Release"
		if d > 0 {
			until = "for " + short(d)
		}
		return fmt.Sprintf("%s is active, forced, and pinned %s", database, until), c.hook.ForceActive(database, d)
	case "release":
		c.hook.Release()
		return "released: databases are chosen automatically", nil
	case "weight":
		w, err := strconv.ParseFloat(field("weight"), 64)
		if err != nil {
			return "", errRequest{fmt.Sprintf("weight %q is not a number", field("weight"))}
		}
		if !(w > 0) || math.IsInf(w, 0) {
			return "", errRequest{fmt.Sprintf("weight %v: must be a finite number > 0", w)}
		}
		return fmt.Sprintf("the weight of %s is %v", database, w), c.hook.SetWeight(database, w)
	}
	return "", errRequest{fmt.Sprintf("there is no action %q: switch, force, release or weight", action)}
}

// duration reads how long a pin is to stand; empty is 0.
func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errRequest{fmt.Sprintf("%q is not how long: 30m, for instance, or 0 until released", text)}
	}
	return d, nil
}
