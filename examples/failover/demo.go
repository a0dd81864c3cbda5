package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
)

// demo is one run. What happens elsewhere (in the hook, in a server, at the keyboard) comes as a note to one goroutine,
// which prints it.
type demo struct {
	cfg   config
	fleet *fleet
	out   io.Writer

	hook     *multidb.Hook
	rdb      redis.UniversalClient
	load     *load
	line     *timeline
	notes    chan func()
	switches []moved
	unusable map[string]bool
	acts     sync.WaitGroup // what the script and the keyboard have started
	broken   *member        // by the script, until it is mended

	consoleAt string   // its address, if there is one
	drawing   *drawing // nil without -svg
	since     interval // what was collected since the last line
}

// interval is what has come of the load.
type interval struct {
	tally tally
	took  []time.Duration
	last  error
}

// quiet is the log of a program that shows what happens by itself.
var quiet = slog.New(slog.DiscardHandler)

func newDemo(cfg config, f *fleet, out io.Writer) *demo {
	d := &demo{
		cfg: cfg, fleet: f, out: out,
		line: &timeline{out: out}, notes: make(chan func(), 100), unusable: make(map[string]bool),
	}
	if cfg.svg != "" {
		d.drawing = &drawing{}
	}
	return d
}

// run shows what happens to the connected client, until the duration is over or ctx ends.
func (d *demo) run(ctx context.Context, stdin io.Reader) error {
	if d.cfg.http != "" {
		end, err := d.startConsole(d.cfg.http)
		if err != nil {
			return errors.Join(err, d.rdb.Close(), d.hook.Close())
		}
		defer end()
	}
	if err := d.hook.Attach(d.rdb); err != nil {
		return errors.Join(err, d.rdb.Close(), d.hook.Close())
	}
	d.introduce()
	loadCtx, endLoad := context.WithTimeout(ctx, d.cfg.duration)
	defer endLoad()
	d.load = startLoad(loadCtx, d.rdb, "multidb-demo:"+rand.Text()[:8]+":", &d.cfg)
	d.acts.Go(func() { d.play(loadCtx) })
	d.acts.Go(func() { d.obeyAll(loadCtx, stdin) })
	err := d.watch(loadCtx)
	d.summary(ctx.Err() != nil)
	_ = d.rdb.Close() // it has nothing to flush
	if d.drawing != nil {
		err = errors.Join(err, d.drawing.write(d.cfg.svg, "A failover: "+d.cfg.scenario.name))
	}
	return err
}

// connect makes the client of an application, with the hook added: this is all that such an application does.
func (d *demo) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	opt := multidb.Options{
		Databases: d.fleet.databases(),
		Failback:  multidb.Failback{GracePeriod: d.cfg.grace, Jitter: -1},
		Events:    d.events(),
		Logger:    quiet, // the timeline shows the events
	}
	if d.cfg.cluster {
		opt.MaxWait = clusterMaxWait
	}
	hook, err := multidb.New(ctx, opt)
	if err != nil {
		return err
	}
	d.hook = hook
	if first := d.fleet.members[0]; first.cluster != nil {
		d.rdb = redis.NewClusterClient(&redis.ClusterOptions{Addrs: first.cluster.Addrs})
	} else {
		d.rdb = redis.NewClient(&redis.Options{Addr: first.opt.Addr})
	}
	return nil
}

// events turns what the hook reports into notes.
func (d *demo) events() multidb.Events {
	return multidb.Events{
		OnSwitch: func(s multidb.Switch) {
			m := moved{s, time.Now()}
			d.note(func() {
				d.switches = append(d.switches, m)
				d.line.event(m.at, "SWITCH "+m.String())
				if d.drawing != nil {
					d.drawing.mark(m.at, "quiet", m.From+" → "+m.To)
				}
				if m.Cause != nil {
					d.line.detail("cause: " + m.Cause.Error())
				}
			})
		},
		OnHealth: func(c multidb.HealthChange) {
			at := time.Now()
			d.note(func() { d.healthChanged(at, c) })
		},
		OnAllDown:   func(error) { d.say("NO DATABASE is usable: commands fail at once with ErrNoDatabase") },
		OnRecovered: func(name string) { d.say("RECOVERED: %s answers again and is in use", name) },
	}
}

func (d *demo) healthChanged(at time.Time, c multidb.HealthChange) {
	switch {
	case c.Cause != nil:
		d.unusable[c.Database] = true
		d.line.event(at, fmt.Sprintf("%s is unusable: breaker %s", c.Database, c.State))
		d.line.detail("cause: " + c.Cause.Error())
	case d.unusable[c.Database]: // that all is well in the beginning is no news
		d.line.event(at, fmt.Sprintf("%s is usable: breaker %s", c.Database, c.State))
	}
}

// note hands something to the goroutine that prints.
func (d *demo) note(f func()) { d.notes <- f }

// say notes an event that happens now.
func (d *demo) say(format string, args ...any) {
	at := time.Now()
	d.note(func() { d.line.event(at, fmt.Sprintf(format, args...)) })
}

// watch prints the timeline until ctx ends, and then what is left to be said by those who were at work.
func (d *demo) watch(ctx context.Context) error {
	ticker := time.NewTicker(d.cfg.every)
	defer ticker.Stop()
	fine := make(<-chan time.Time) // never, unless there is something to draw
	if d.drawing != nil {
		ticker := time.NewTicker(resolution)
		defer ticker.Stop()
		fine = ticker.C
	}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		d.load.wg.Wait()
		d.acts.Wait()
		ended <- d.hook.Close() // it delivers the events that are left
	}()
	for {
		select {
		case f := <-d.notes:
			f()
		case now := <-ticker.C:
			d.tick(now)
		case now := <-fine:
			d.collect(now)
		case err := <-ended:
			for len(d.notes) > 0 {
				(<-d.notes)()
			}
			d.tick(time.Now())
			return err
		}
	}
}

// collect adds what the load has done since the last call, and returns who is active, or nothing.
func (d *demo) collect(now time.Time) (active string) {
	if s := d.hook.Stats(); !s.Down {
		active = s.Active
	}
	sum, took, last := d.load.collect()
	if d.drawing != nil {
		d.drawing.add(now, active, sum, took)
	}
	d.since.tally.add(sum)
	d.since.took = append(d.since.took, took...)
	if last != nil {
		d.since.last = last
	}
	return active
}

// tick prints a line.
func (d *demo) tick(now time.Time) {
	active := d.collect(now)
	if active == "" {
		active = "(none)"
	}
	s := d.since
	d.since = interval{}
	d.line.tick(now, active, s.tally, s.took, s.last)
}

// point puts a mark into the drawing, for what happens now.
func (d *demo) point(class, text string) {
	if d.drawing != nil {
		at := time.Now()
		d.note(func() { d.drawing.mark(at, class, text) })
	}
}

// obeyAll does what is typed, one line after the other, until ctx ends. A read cannot be interrupted, so the goroutine
// that reads may outlive the demo.
func (d *demo) obeyAll(ctx context.Context, r io.Reader) {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return
			}
			d.obey(ctx, line)
		case <-ctx.Done():
			return
		}
	}
}

func (d *demo) obey(ctx context.Context, line string) {
	switch word := strings.TrimSpace(line); word {
	case "":
	case "r":
		d.hook.Release()
		d.say("released: the hook chooses again")
	default:
		m := d.fleet.find(word)
		if m == nil {
			d.say("%q is no database and no command; type a name, or r", word)
			return
		}
		d.switchTo(ctx, m)
	}
}

func (d *demo) switchTo(ctx context.Context, m *member) {
	d.say("asked to switch to %s", m.name)
	if err := d.hook.SetActive(ctx, m.name); err != nil && ctx.Err() == nil {
		d.say("not switched: %v", err)
	}
}
