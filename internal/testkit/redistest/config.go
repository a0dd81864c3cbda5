package redistest

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Config says what kind of redis-server to run. The zero value is a plain server without a password, on a free
// loopback port, that forgets everything when it ends.
type Config struct {
	// Port is the loopback port to listen on. 0 is a free one. Ignored with UnixSocket.
	Port int
	// Password is the default user's password (requirepass). Empty is none.
	Password string
	// Users are ACL users as redis.conf has them, without the leading "user": "alice on >secret ~* &* +@all".
	Users []string
	// TLS serves TLS only, with a certificate made for this server; see [Server.TLSConfig].
	TLS bool
	// UnixSocket serves a Unix socket only.
	UnixSocket bool
	// Persist keeps the data across Kill and Restart: whatever was answered has been written.
	Persist bool
	// Lines are further redis.conf lines. They come last, so they win.
	Lines []string
}

// Option changes a [Config].
type Option func(*Config)

// Port makes the server listen on a given loopback port.
func Port(n int) Option { return func(c *Config) { c.Port = n } }

// Password sets the default user's password.
func Password(password string) Option { return func(c *Config) { c.Password = password } }

// Users adds ACL users, each as redis.conf has it without the leading "user": "alice on >secret ~* &* +@all".
func Users(users ...string) Option {
	return func(c *Config) { c.Users = append(c.Users, users...) }
}

// TLS makes the server speak TLS only; clients need [Server.TLSConfig].
func TLS() Option { return func(c *Config) { c.TLS = true } }

// UnixSocket makes the server listen on a Unix socket only; [Server.Addr] is its path.
func UnixSocket() Option { return func(c *Config) { c.UnixSocket = true } }

// Persist makes the data survive Kill and Restart.
func Persist() Option { return func(c *Config) { c.Persist = true } }

// Lines adds redis.conf lines, which win over the package's own.
func Lines(lines ...string) Option {
	return func(c *Config) { c.Lines = append(c.Lines, lines...) }
}

// render returns redis.conf for a server of the given major version that listens on port and keeps its files in dir.
func (c Config) render(version, port int, dir, adminPassword string) string {
	lines := []string{
		"bind 127.0.0.1",
		`save ""`,
		"dir " + strconv.Quote(dir),
		// Counting at the server must work whatever the default user is allowed to do.
		fmt.Sprintf("user %s on >%s ~* &* +@all", adminUser, adminPassword),
	}
	if version >= 7 { // before 7, DEBUG was always enabled and the setting did not exist
		lines = append(lines, "enable-debug-command yes")
	}
	switch {
	case c.UnixSocket:
		lines = append(lines, "port 0", "unixsocket "+strconv.Quote(filepath.Join(dir, socketFile)))
	case c.TLS:
		lines = append(lines, "port 0", fmt.Sprintf("tls-port %d", port), "tls-auth-clients no",
			"tls-ca-cert-file "+strconv.Quote(filepath.Join(dir, caFile)),
			"tls-cert-file "+strconv.Quote(filepath.Join(dir, certFile)),
			"tls-key-file "+strconv.Quote(filepath.Join(dir, keyFile)))
	default:
		lines = append(lines, fmt.Sprintf("port %d", port))
	}
	if c.Persist {
		// "always" is the only policy that never answers before it has written: "everysec" puts a write off while a sync
		// is under way, and both others may answer first on a connection that still has replies queued.
		lines = append(lines, "appendonly yes", "appendfsync always", "auto-aof-rewrite-percentage 0")
	} else {
		lines = append(lines, "appendonly no")
	}
	if c.Password != "" {
		lines = append(lines, "requirepass "+strconv.Quote(c.Password))
	}
	for _, user := range c.Users {
		lines = append(lines, "user "+user)
	}
	return strings.Join(append(lines, c.Lines...), "\n") + "\n"
}
