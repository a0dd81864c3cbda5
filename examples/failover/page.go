package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/redishook/multidb/console"
)

// startConsole serves the console of the hook at -http, until the returned function is called.
func (d *demo) startConsole(addr string) (end func(), err error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("-http: %w", err)
	}
	c := console.New(d.hook, console.Options{Authorize: fromThisMachine, Logger: quiet})
	d.rdb.AddHook(c.Timer()) // before the hook: it sees what callers see
	server := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	d.consoleAt = "http://" + ln.Addr().String() + "/"
	return func() {
		_ = server.Close()
		<-done
		c.Close()
	}, nil
}

// fromThisMachine lets those press buttons who sit here.
func fromThisMachine(r *http.Request) (user string, err error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return "", errors.New("buttons are for those on the machine of the demo")
	}
	return "you", nil
}
