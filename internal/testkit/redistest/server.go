// Package redistest runs real redis-server processes that a test can kill, stop, continue and restart.
//
// [Start] is for tests; [Run] is the same without a testing.TB, for programs.
package redistest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	adminUser    = "redistest"
	socketFile   = "redis.sock"
	startTimeout = 20 * time.Second
)

// errPortTaken says that redis-server ended because something else listens on its port.
var errPortTaken = errors.New("redistest: port is taken")

// Server is a redis-server process, or the place where one was and will be again. Its address, credentials and data
// directory stay the same from one life to the next. Safe for concurrent use.
type Server struct {
	cfg      Config
	bin      binary
	dir      string
	password string    // of adminUser
	identity *identity // nil without TLS
	port     int       // 0 on a Unix socket

	mu     sync.Mutex
	proc   *process // Guarded by mu
	lives  int      // Guarded by mu; numbers the log files
	closed bool     // Guarded by mu

	client func() *redis.Client
}

// Run starts a redis-server and returns when it answers. It fails with [ErrNotInstalled] when there is none on PATH.
// The context bounds the start only; [Server.Close] ends the server.
func Run(ctx context.Context, cfg Config) (*Server, error) {
	bin, err := findBinary()
	if err != nil {
		return nil, err
	}
	// Not testing.TB.TempDir: its path holds the test's name, and the path of a Unix socket must not exceed 108 bytes.
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, bin: bin, dir: dir, password: rand.Text()}
	s.client = sync.OnceValue(func() *redis.Client { return redis.NewClient(s.Options()) })
	if err := s.firstStart(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) firstStart(ctx context.Context) (err error) {
	if s.cfg.TLS {
		if s.identity, err = newIdentity(s.dir); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 20 {
		if s.port = s.cfg.Port; s.port == 0 && !s.cfg.UnixSocket {
			// Below the ephemeral range: while this server is down, a client's outgoing connection must not be given its port.
			s.port = 26000 + randv2.IntN(6000)
		}
		if err = s.start(ctx); !errors.Is(err, errPortTaken) || s.cfg.Port != 0 {
			return err
		}
	}
	return err
}

// start brings a new process up. Requires s.mu.
func (s *Server) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conf := filepath.Join(s.dir, "redis.conf")
	text := s.cfg.render(s.bin.version, s.port, s.dir, s.password)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	s.lives++
	proc, err := startProcess(s.bin.path, conf, s.logFile())
	if err != nil {
		return err
	}
	s.proc = proc
	for err = errors.New("not asked yet"); ; {
		select {
		case <-proc.done:
			log := s.logTail()
			if strings.Contains(log, "Address already in use") || strings.Contains(log, "Failed listening") {
				return fmt.Errorf("%w: %s", errPortTaken, log)
			}
			return fmt.Errorf("redistest: redis-server ended at once: %s", log)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("redistest: no answer from %s: %w (%w): %s", s.Addr(), ctx.Err(), err, s.logTail()), proc.kill())
		case <-time.After(2 * time.Millisecond):
		}
		if err = s.answers(ctx, proc.pid()); err == nil {
			return nil
		}
	}
}

// answers reports whether the server is ready and is the process pid: a foreign server on the same port would answer PING too.
func (s *Server) answers(ctx context.Context, pid int) error {
	opt := s.Options()
	// A client of its own would log each refused dial, and the first ones always are.
	conn, err := net.DialTimeout(opt.Network, opt.Addr, time.Second)
	if err != nil {
		return err
	}
	_ = conn.Close()

	opt.MaxRetries, opt.DialerRetries = -1, 1 // the caller polls
	opt.DialTimeout, opt.ReadTimeout = time.Second, time.Second
	c := redis.NewClient(opt)
	defer c.Close()
	if err := c.Ping(ctx).Err(); err != nil {
		return err
	}
	info, err := c.Info(ctx, "server").Result()
	if err == nil && !strings.Contains(info, fmt.Sprintf("\nprocess_id:%d\r", pid)) {
		err = errors.New("another server answers")
	}
	return err
}

// Addr is host:port, or the socket's path with UnixSocket.
func (s *Server) Addr() string {
	if s.cfg.UnixSocket {
		return filepath.Join(s.dir, socketFile)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Pid is the process id of the present or last life.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.pid()
}

// TLSConfig returns a new client configuration that trusts this server and no other; nil without TLS.
func (s *Server) TLSConfig() *tls.Config {
	if s.identity == nil {
		return nil
	}
	return &tls.Config{RootCAs: s.identity.roots, MinVersion: tls.VersionTLS12}
}

// ServerTLSConfig returns a new server configuration with this server's certificate, for a proxy in front of it; nil without TLS.
func (s *Server) ServerTLSConfig() *tls.Config {
	if s.identity == nil {
		return nil
	}
	return &tls.Config{Certificates: []tls.Certificate{s.identity.cert}, MinVersion: tls.VersionTLS12}
}

// Options returns new options for an administrator who may do everything, whatever the passwords and users of the
// configuration: a test may set DB or timeouts and make its own client from it.
func (s *Server) Options() *redis.Options {
	opt := &redis.Options{
		Network:         "tcp",
		Addr:            s.Addr(),
		Username:        adminUser,
		Password:        s.password,
		TLSConfig:       s.TLSConfig(),
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if s.cfg.UnixSocket {
		opt.Network = "unix"
	}
	return opt
}

// Client is a plain administrator's client for counting at the server. [Server.Close] closes it.
func (s *Server) Client() *redis.Client { return s.client() }

// Kill ends the process as a crash does (SIGKILL), stopped or not, and waits for its end. A dead one is fine.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.kill()
}

// Stop makes the server hang (SIGSTOP): the kernel still accepts connections for it, and nothing answers. On Linux it
// returns once the process has stopped.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.stop()
}

// Cont wakes a stopped server up (SIGCONT); it then executes whatever was sent to it meanwhile.
func (s *Server) Cont() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.cont()
}

// Restart starts the server again on the same address and data directory, after killing it if it runs, and returns when it
// answers. The data is back only with Persist.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("redistest: Restart after Close")
	}
	if err := s.proc.kill(); err != nil {
		return err
	}
	var err error
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = s.start(context.Background()); !errors.Is(err, errPortTaken) {
			break
		}
	}
	return err
}

// Close kills the server and removes its files. Calling it again does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.client().Close()
	if s.proc != nil {
		err = errors.Join(err, s.proc.kill())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// logFile requires s.mu.
func (s *Server) logFile() string { return filepath.Join(s.dir, fmt.Sprintf("redis-%d.log", s.lives)) }

// logTail is the end of the log of this life. Requires s.mu.
func (s *Server) logTail() string {
	log, _ := os.ReadFile(s.logFile()) // an unreadable log is an empty one: it only explains another error
	return strings.TrimSpace(string(log[max(0, len(log)-2000):]))
}
