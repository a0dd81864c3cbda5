package probes

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// secret is unlike anything else in an error text.
const secret = "hunter2/+%zz\u00e4"

type answers func(*http.Request) *http.Response

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) { return a(req), nil }

func reply(status int, location string, body []byte) *http.Response {
	header := http.Header{}
	if location != "" {
		header.Set("Location", location)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))}
}

// FuzzRESTAnswers: whatever the API answers, the probe passes only on two answers of
// 200 of which the first has the database, asks for nothing but that database, and
// says no more than it should.
func FuzzRESTAnswers(f *testing.F) {
	const list = `[{"uid":7,"endpoints":[{"dns_name":"east","port":12000,"addr":["10.0.0.1"]}]}]`
	f.Add(200, []byte(list), 200, []byte(``), "")
	f.Add(200, []byte(list), 503, []byte(`{"error_code":"bdb_unavailable_shard_unreachable","description":"Endpoint error status: shard unreachable"}`), "")
	f.Add(200, []byte(list), 503, []byte(`{"error_code":"`+secret+`","description":"`+secret+`"}`), "")
	f.Add(307, []byte(``), 200, []byte(``), "https://me:"+url.QueryEscape(secret)+"@west/v1/bdbs")
	f.Add(200, []byte(`[{"uid":-1,"endpoints":[{"dns_name":"EAST.","port":12000}]}]`), 200, []byte(``), "")
	f.Add(200, []byte(`[{"uid":1e3,"endpoints":null},null,{}]`), 200, []byte(``), "")
	f.Add(200, []byte(`[{"uid":7,"endpoints":[{"addr":["::ffff:10.0.0.1","%"],"port":12000}]}]`), 404, []byte(`[]`), "")
	f.Fuzz(func(t *testing.T, listStatus int, listBody []byte, availStatus int, availBody []byte, location string) {
		var paths []string
		client := &http.Client{Transport: answers(func(req *http.Request) *http.Response {
			if req.URL.Host != "east:9443" {
				t.Fatalf("asked %s", req.URL.Host)
			}
			paths = append(paths, req.URL.Path)
			if req.URL.Path == "/v1/bdbs" {
				return reply(listStatus, location, listBody)
			}
			return reply(availStatus, location, availBody)
		})}
		p, err := LagAware(LagAwareOptions{HTTPClient: client, Username: "me", Password: secret})
		if err != nil {
			t.Fatal(err)
		}
		db := Target{Name: "east", Addr: "east:12000"}
		err = p.Check(t.Context(), db)

		if len(paths) == 0 || len(paths) > 2 {
			t.Fatalf("asked %q", paths)
		}
		if len(paths) == 2 {
			var dbs []struct{ UID int64 }
			if json.Unmarshal(listBody, &dbs) != nil {
				t.Fatalf("asked %q on the strength of %q", paths, listBody)
			}
			middle, ok := strings.CutPrefix(paths[1], "/v1/bdbs/")
			uid, ok2 := strings.CutSuffix(middle, "/availability")
			if !ok || !ok2 || strings.Trim(uid, "0123456789") != "" {
				t.Fatalf("asked %q", paths)
			}
		}
		if err == nil {
			if listStatus != 200 || availStatus != 200 || len(paths) != 2 {
				t.Fatalf("passed with %d and %d after %q", listStatus, availStatus, paths)
			}
			return
		}
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			if strings.Contains(err.Error(), form) {
				t.Fatalf("the password is in %q", err)
			}
		}
		if len(err.Error()) > 3000 {
			t.Fatalf("%d bytes of error", len(err.Error()))
		}
		refused := listStatus == 401 || listStatus == 403 || listStatus == 200 && (availStatus == 401 || availStatus == 403) && len(paths) == 2
		if got := OutcomeOf(err) == NotPermitted; got != refused {
			t.Fatalf("%d and %d: not permitted is %v: %v", listStatus, availStatus, got, err)
		}
	})
}

// FuzzHealthCheckURL: a URL is refused without its password in the text, or leads to
// its own host, encrypted if there is a password, with no user in it.
func FuzzHealthCheckURL(f *testing.F) {
	for _, u := range []string{
		"", "https://east", "https://east:9443/", "https://me:" + url.QueryEscape(secret) + "@east/a/b/",
		"http://east", "https://[fe80::1%25eth0]", "https://east/%2f/../..", "https:///x", "https://a@b@c",
		"//east", "https:east", "https://east:0x1", "https://e\x00", "https://[::1", "https://east/?", "https://east#",
	} {
		f.Add(u, "east:6379")
	}
	f.Add("", "[::1]:6379")
	f.Add("", "[fe80::1%eth0]:6379")
	f.Add("", "a@b:6379")
	f.Add("", "a/b?c#d:6379")
	f.Fuzz(func(t *testing.T, raw, addr string) {
		for _, password := range []string{"", secret} {
			p := &lagProbe{password: password, port: defaultRESTPort}
			db := Target{HealthCheckURL: raw, Addr: addr}
			api, err := p.endpoint(raw, addresses(db))
			if err != nil {
				// All texts are fixed ones, so that none can quote a part of the URL.
				if len(err.Error()) > 100 || strings.Contains(err.Error(), secret) {
					t.Fatalf("%q is refused with %q", raw, err)
				}
				continue
			}
			req, err := http.NewRequest(http.MethodGet, api.base+"?fields=uid,endpoints", nil)
			if err != nil {
				// get makes an error of its own of it.
				continue
			}
			u := req.URL
			if u.Scheme != "https" && (u.Scheme != "http" || api.username != "" || api.password != "") {
				t.Fatalf("%q: %s with a password", raw, u.Scheme)
			}
			if u.User != nil || u.Host == "" || u.Port() == "" || u.Fragment != "" || u.RawQuery != "fields=uid,endpoints" || !strings.HasSuffix(u.Path, "/v1/bdbs") {
				t.Fatalf("%q leads to %q", raw, u)
			}
			if raw != "" {
				given, err := url.Parse(raw)
				if err != nil || given.Hostname() != u.Hostname() || given.Port() != "" && given.Port() != u.Port() {
					t.Fatalf("%q leads to %q", raw, u)
				}
			}
		}
	})
}

// FuzzMatch: what is found has the port that was looked for, and finding does not
// depend on how the host is spelled.
func FuzzMatch(f *testing.F) {
	f.Add([]byte(`[{"uid":7,"endpoints":[{"dns_name":"East.","port":12000,"addr":["10.0.0.1"]}]}]`), "east:12000")
	f.Add([]byte(`[{"uid":7,"endpoints":[{"dns_name":"","port":12000,"addr":["::ffff:10.0.0.1"]}]}]`), "10.0.0.1:12000")
	f.Add([]byte(`[{"uid":7,"endpoints":[{"dns_name":"","port":0,"addr":[""]}]}]`), ":0")
	f.Add([]byte(`[{"uid":7,"endpoints":[{"addr":["2001:db8::7"],"port":6379}]}]`), "[2001:DB8:0::7]:6379")
	f.Add([]byte(`[{"uid":7,"endpoints":[{"dns_name":"x","port":80}]}]`), "x:http")
	f.Fuzz(func(t *testing.T, list []byte, addr string) {
		uid, err := parseList(list, []string{addr})
		if err != nil {
			if uid != 0 {
				t.Fatalf("uid %d with an error", uid)
			}
			return
		}
		var dbs []bdb
		if json.Unmarshal(list, &dbs) != nil || uid <= 0 {
			t.Fatalf("found %d in %q", uid, list)
		}
		again, err := match(dbs, []string{"nowhere:1", strings.ToUpper(addr), addr})
		if err != nil || again <= 0 {
			t.Fatalf("%q finds %d, but among others %d: %v", addr, uid, again, err)
		}
		found := false
		for _, db := range dbs {
			found = found || db.UID == uid && len(db.Endpoints) > 0
		}
		if !found {
			t.Fatalf("%d is not in %q", uid, list)
		}
	})
}
