package multidbtest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/memnet"
)

// patience is how long what must happen may take. In a bubble it is virtual time.
const patience = 30 * time.Second

// Pair is two databases, and a client with a hook over both. East is the heavier one and active in the beginning.
type Pair struct {
	// East has weight 1, West 0.5.
	East, West *Database
	// Hook is over both, and Client has it. Whoever closes them earlier may do so.
	Hook   *multidb.Hook
	Client *redis.Client

	options  redis.Options // of the client
	mu       sync.Mutex
	switches []multidb.Switch // Guarded by mu
}

// Config changes what [New] and [Open] make. The zero value is what [NewPair] uses.
type Config struct {
	// Options are those of the hook, for instance the ones that your service uses. Databases is filled in, and must be
	// empty. Events.OnSwitch is called as well as [Pair.Switches] is kept. Default: those of multidb.New; the log of the
	// hook goes to the output of the test, or nowhere in [Open].
	Options multidb.Options
	// Client are the options of the client: pool size, timeouts and so on. What tells where it connects to is filled in.
	// Default: those of go-redis, without maintenance notifications.
	Client redis.Options
	// TCP makes both databases listen on 127.0.0.1, for code that dials by itself. Such a pair does not work in a bubble
	// of testing/synctest. Default: they are reached in memory, by the Dialer of [Database.Options].
	TCP bool
}

// NewPair is [New] with the defaults.
func NewPair(tb testing.TB) *Pair {
	tb.Helper()
	return New(tb, Config{})
}

// New makes a pair for a test, and closes it at the end of the test. In a bubble, tb is the one of the bubble. Both
// databases are healthy when it returns.
func New(tb testing.TB, cfg Config) *Pair {
	tb.Helper()
	if cfg.Options.Logger == nil {
		cfg.Options.Logger = slog.New(slog.NewTextHandler(tb.Output(), nil))
	}
	p, err := open(cfg, func(err error) { tb.Errorf("%v", err) })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("multidbtest: close: %v", err)
		}
	})
	return p
}

// Open is New for programs: the caller closes the pair.
func Open(cfg Config) (*Pair, error) {
	if cfg.Options.Logger == nil {
		cfg.Options.Logger = slog.New(slog.DiscardHandler)
	}
	return open(cfg, func(err error) { panic(err) })
}

func open(cfg Config, report func(error)) (*Pair, error) {
	if len(cfg.Options.Databases) > 0 {
		return nil, errors.New("multidbtest: Config.Options.Databases: must be empty, the databases are those of the pair")
	}
	p := &Pair{}
	network := &memnet.Network{}
	if cfg.TCP {
		network = nil
	}
	var err error
	// No name needs to be resolved: these addresses are set aside for documentation.
	if p.East, err = startDatabase("east", 1, "192.0.2.1:6379", network, report); err != nil {
		return nil, err
	}
	if p.West, err = startDatabase("west", 0.5, "192.0.2.2:6379", network, report); err != nil {
		p.East.close()
		return nil, err
	}
	if err := p.connect(cfg); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// connect makes the hook and the client.
func (p *Pair) connect(cfg Config) error {
	opt := cfg.Options
	opt.Databases = p.Databases()
	if opt.Initial == 0 {
		opt.Initial = multidb.InitialAll
	}
	onSwitch := opt.Events.OnSwitch
	opt.Events.OnSwitch = func(s multidb.Switch) {
		p.mu.Lock()
		p.switches = append(p.switches, s)
		p.mu.Unlock()
		if onSwitch != nil {
			onSwitch(s)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hook, err := multidb.New(ctx, opt)
	if err != nil {
		return err
	}
	p.Hook = hook
	p.options = cfg.Client
	at := p.East.Options()
	p.options.Addr, p.options.Dialer = at.Addr, at.Dialer
	if p.options.MaintNotificationsConfig == nil {
		p.options.MaintNotificationsConfig = at.MaintNotificationsConfig
	}
	p.Client = redis.NewClient(p.Options())
	p.Client.AddHook(hook)
	return nil
}

// Options returns the options of Client, for code under test that makes a client of its own. Add the hook to that:
// client.AddHook(pair.Hook).
func (p *Pair) Options() *redis.Options {
	o := p.options
	return &o
}

// Databases returns both as options of a hook, for code under test that makes a hook of its own.
func (p *Pair) Databases() []multidb.Database {
	return []multidb.Database{
		{Name: p.East.name, Weight: p.East.weight, Options: p.East.Options()},
		{Name: p.West.name, Weight: p.West.weight, Options: p.West.Options()},
	}
}

// Switches returns the switches of Hook so far, which are told in the order of what happened, and a moment after it.
func (p *Pair) Switches() []multidb.Switch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.switches)
}

// AwaitActive waits until the database of that name is active and in use. It fails the test if that takes longer
// than 30 s (of virtual time, in a bubble).
func (p *Pair) AwaitActive(tb testing.TB, name string) {
	tb.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) { //nolint:forbidigo // the test waits, and no hook
		s := p.Hook.Stats()
		if s.Active == name && !s.Down {
			return
		}
		if time.Since(began) > patience {
			tb.Fatalf("multidbtest: %q is not active after %v: active %q, down %v", name, patience, s.Active, s.Down)
		}
	}
}

// Close ends the client, the hook and both databases, whatever is broken. [New] does it by itself.
func (p *Pair) Close() error {
	var errs []error
	if p.Client != nil {
		if err := p.Client.Close(); !errors.Is(err, redis.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if p.Hook != nil {
		errs = append(errs, p.Hook.Close())
	}
	p.East.close()
	p.West.close()
	return errors.Join(errs...)
}

// noNotifications is what a server without maintenance notifications needs: go-redis would look names up for them.
func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
