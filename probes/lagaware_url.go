package probes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// endpoint returns the API at a HealthCheckURL or, without one, at the host of the
// first address. It never passes on what net/url says about a bad URL, which may
// quote the password.
func (p *lagProbe) endpoint(healthCheckURL string, addrs []string) (restAPI, error) {
	api := restAPI{http: p.http, username: p.username, password: p.password}
	u := &url.URL{Scheme: "https"}
	if healthCheckURL == "" {
		if len(addrs) == 0 {
			return api, errors.New("neither HealthCheckURL nor Addr is set")
		}
		host, _, err := net.SplitHostPort(addrs[0])
		if err != nil || host == "" {
			return api, errors.New("HealthCheckURL must be set: Addr is no host:port to take the host from")
		}
		u.Host = net.JoinHostPort(host, strconv.Itoa(p.port))
	} else {
		var err error
		u, err = url.Parse(healthCheckURL)
		switch {
		case err != nil || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
			return api, errors.New("HealthCheckURL must be of the form https://host[:port][/path]")
		case u.Hostname() == "":
			return api, errors.New("HealthCheckURL has no host")
		case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
			return api, errors.New("HealthCheckURL must have neither query nor fragment")
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(p.port))
		} else if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil {
			return api, errors.New("HealthCheckURL has a port that is none")
		}
		if u.User != nil {
			api.username = u.User.Username()
			api.password, _ = u.User.Password()
		}
	}
	if u.Scheme == "http" && (api.username != "" || api.password != "") {
		return api, errors.New("HealthCheckURL must be https where there is a password to send")
	}
	api.base = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).JoinPath("v1", "bdbs").String()
	return api, nil
}

// addresses returns where the database is reached. For a cluster that is every
// address it was given: one of them may be the one the REST API knows.
func addresses(db Target) []string {
	var addrs []string
	if db.Addr != "" {
		addrs = append(addrs, db.Addr)
	}
	switch c := db.Client.(type) {
	case *redis.Client:
		if db.Addr == "" && c != nil {
			addrs = append(addrs, c.Options().Addr)
		}
	case *redis.ClusterClient:
		if c != nil {
			addrs = append(addrs, c.Options().Addrs...)
		}
	}
	return slices.Compact(addrs)
}

// bdb is what is read of a database object:
// https://redis.io/docs/latest/operate/rs/references/rest-api/objects/bdb/.
type bdb struct {
	UID       int64 `json:"uid"`
	Endpoints []struct {
		DNSName string   `json:"dns_name"`
		Addr    []string `json:"addr"`
		Port    int      `json:"port"`
	} `json:"endpoints"`
}

// match returns the uid of the database that has an endpoint at one of addrs. All
// DNS names are looked at before any address: an address may be shared, and several
// databases are at one name, told apart by the port.
func match(dbs []bdb, addrs []string) (int64, error) {
	type hostPort struct {
		host string
		ip   netip.Addr
		port int
	}
	var wanted []hostPort
	for _, addr := range addrs {
		host, service, err := net.SplitHostPort(addr)
		if err != nil {
			continue
		}
		port, err := net.LookupPort("tcp", service) // numbers need no look-up
		if err != nil {
			continue
		}
		ip, _ := netip.ParseAddr(host)
		wanted = append(wanted, hostPort{host: canonical(host), ip: ip.Unmap(), port: port})
	}
	if len(wanted) == 0 {
		return 0, fmt.Errorf("no host:port among %q to find the database by", addrs)
	}

	for _, byName := range []bool{true, false} {
		for _, want := range wanted {
			for _, db := range dbs {
				for _, e := range db.Endpoints {
					if e.Port != want.port {
						continue
					}
					found := byName && e.DNSName != "" && canonical(e.DNSName) == want.host
					if !byName && want.ip.IsValid() {
						found = slices.ContainsFunc(e.Addr, func(s string) bool {
							ip, err := netip.ParseAddr(s)
							return err == nil && ip.Unmap() == want.ip
						})
					}
					if !found {
						continue
					}
					if db.UID <= 0 {
						return 0, fmt.Errorf("malformed answer: the database at %q has uid %d", addrs, db.UID)
					}
					return db.UID, nil
				}
			}
		}
	}
	return 0, fmt.Errorf("none of the %d databases of the cluster has an endpoint at %q", len(dbs), addrs)
}

// canonical makes equal DNS names equal strings.
func canonical(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
