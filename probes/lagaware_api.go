package probes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxList bounds the list of databases: thousands of them, some 300 bytes each.
	maxList = 4 << 20
	// maxOther bounds what is read of any other answer. A longer one costs its
	// connection, which is closed and not used again.
	maxOther = 64 << 10
	// maxText bounds what an error text takes from an answer.
	maxText = 200
)

// RESTError is an answer of the REST API that is not the 200 it should be.
type RESTError struct {
	Status int // HTTP status

	// Code is the error_code of the answer: no_quorum, db_not_found, and
	// bdb_unavailable, alone or with _shard_unreachable and _port_unbound. Empty if
	// there was none: the API may leave it out, and for lag none is documented.
	Code string

	// Description is what the answer says in words, if it does.
	Description string

	// Location is the scheme and host that a redirect, not followed, leads to.
	Location string
}

// Error has the status, and what else there is.
func (e *RESTError) Error() string {
	text := fmt.Sprintf("REST API answered %d", e.Status)
	if name := http.StatusText(e.Status); name != "" {
		text += " " + name
	}
	if e.Code != "" {
		text += fmt.Sprintf(", error_code %q", e.Code)
	}
	if e.Description != "" {
		text += fmt.Sprintf(", description %q", e.Description)
	}
	if e.Status/100 == 3 {
		text += fmt.Sprintf(", a redirect to %q that is not followed: HealthCheckURL must name the host that answers", e.Location)
	}
	return text
}

// Is tells that 401 and 403 are ErrNotPermitted.
func (e *RESTError) Is(target error) bool {
	return target == ErrNotPermitted && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// restAPI is the API at one place, for one user.
type restAPI struct {
	http               *http.Client
	base               string // .../v1/bdbs, without a user
	username, password string
}

// find returns the uid of the database at one of addrs.
func (api restAPI) find(ctx context.Context, addrs []string) (int64, error) {
	body, err := api.get(ctx, api.base+"?fields=uid,endpoints", maxList)
	if err != nil {
		return 0, fmt.Errorf("list of databases: %w", err)
	}
	uid, err := parseList(body, addrs)
	if err != nil {
		return 0, fmt.Errorf("list of databases: %w", err)
	}
	return uid, nil
}

func parseList(body []byte, addrs []string) (int64, error) {
	var dbs []bdb
	if err := json.Unmarshal(body, &dbs); err != nil {
		// Not the error itself: it may quote the answer, at any length.
		return 0, errors.New("malformed answer: not the JSON array that it should be")
	}
	return match(dbs, addrs)
}

// available returns nil if the API calls the database available. Its answer to that
// is 200; what the body holds then is not documented, and not looked at.
func (api restAPI) available(ctx context.Context, uid int64, tolerance time.Duration) error {
	target := fmt.Sprintf("%s/%d/availability", api.base, uid)
	if tolerance >= 0 {
		target += "?extend_check=lag&availability_lag_tolerance_ms=" + strconv.FormatInt(tolerance.Milliseconds(), 10)
	}
	if _, err := api.get(ctx, target, maxOther); err != nil {
		return fmt.Errorf("availability of database %d: %w", uid, err)
	}
	return nil
}

// get returns the body of a 200. It is read to its end, so that the connection can
// be used for the next probe; an answer that has none, or none in time, or is longer
// than limit, is not an answer.
func (api restAPI) get(ctx context.Context, target string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, errors.New("HealthCheckURL is not usable")
	}
	req.Header.Set("Accept", "application/json")
	if api.username != "" || api.password != "" {
		req.SetBasicAuth(api.username, api.password)
	}
	resp, err := api.http.Do(req)
	if err != nil {
		return nil, api.scrub(err)
	}
	defer func() { _ = resp.Body.Close() }()

	if resp.StatusCode != http.StatusOK {
		return nil, api.refusal(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("answer broke off: %w", api.scrub(err))
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("malformed answer: longer than %d bytes", limit)
	}
	return body, nil
}

// refusal reads what an answer other than 200 says about itself.
func (api restAPI) refusal(resp *http.Response) *RESTError {
	e := &RESTError{Status: resp.StatusCode}
	if to, err := url.Parse(resp.Header.Get("Location")); err == nil && to.Host != "" {
		e.Location = api.text(to.Scheme + "://" + to.Host)
	}
	// A body that is cut off or broken off says nothing, and the status is enough.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxOther))
	e.Code, e.Description = parseRefusal(body)
	e.Code, e.Description = api.text(e.Code), api.text(e.Description)
	return e
}

func parseRefusal(body []byte) (code, description string) {
	var said struct {
		Code        string `json:"error_code"`
		Description string `json:"description"`
	}
	if json.Unmarshal(body, &said) != nil {
		return "", ""
	}
	return said.Code, said.Description
}

// text makes an error text of what a server sent: short, and without the password.
func (api restAPI) text(s string) string {
	s = api.mask(s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	return s
}

// mask takes out the password, which a server or a proxy may repeat in what it
// answers.
func (api restAPI) mask(s string) string {
	if api.password == "" {
		return s
	}
	basic := base64.StdEncoding.EncodeToString([]byte(api.username + ":" + api.password))
	for _, secret := range []string{basic, api.password, url.QueryEscape(api.password), url.PathEscape(api.password)} {
		s = strings.ReplaceAll(s, secret, "xxxxx")
	}
	return s
}

// scrub masks the text of an error: net/http quotes answers that it cannot parse.
func (api restAPI) scrub(err error) error {
	if text := err.Error(); api.mask(text) != text {
		return &maskedError{text: api.mask(text), err: err}
	}
	return err
}

type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }

// Is and Timeout instead of Unwrap, which would hand out the text again.
func (e *maskedError) Is(target error) bool { return errors.Is(e.err, target) }
func (e *maskedError) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.err)
	return ok && t.Timeout()
}
