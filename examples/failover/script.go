package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// step is something that the demo does at a set time.
type step struct {
	at  time.Duration
	act func(context.Context)
}

// script is what happens in this run, in order of time.
func (d *demo) script() []step {
	var steps []step
	switch {
	case d.cfg.cluster:
		steps = d.clusterScript()
	case d.cfg.scenario.begin != nil:
		breakAt, mendAt := d.faultTimes()
		steps = []step{{breakAt, d.breakActive}, {mendAt, func(context.Context) { d.mend() }}}
	}
	if d.cfg.switchAt > 0 {
		steps = append(steps, step{d.cfg.switchAt, d.switchAway})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return steps
}

// play carries out the script until ctx ends.
func (d *demo) play(ctx context.Context) {
	for _, s := range d.script() {
		rest(ctx, time.Until(d.line.began.Add(s.at)))
		if ctx.Err() != nil {
			return
		}
		s.act(ctx)
	}
}

// faultTimes leaves a fifth for the normal state and more than half for recovery, grace period and return. In a run of
// 20 s no fault falls on a line of the timeline.
func (d *demo) faultTimes() (breakAt, mendAt time.Duration) {
	return d.cfg.duration * 11 / 50, d.cfg.duration * 21 / 50
}

func (d *demo) breakActive(context.Context) {
	m := d.fleet.find(d.hook.Active())
	d.broken = m
	d.say("%s is %s", m.name, d.cfg.scenario.what)
	d.point("bad", m.name+": "+d.cfg.scenario.name)
	if err := d.cfg.scenario.begin(m); err != nil {
		d.say("that failed: %v", err)
	}
}

// mend undoes breakActive. It does nothing if there is nothing to undo.
func (d *demo) mend() {
	m := d.broken
	if m == nil {
		return
	}
	d.broken = nil
	if err := d.cfg.scenario.end(m); err != nil {
		d.say("%s does not come back: %v", m.name, err)
		return
	}
	d.say("%s is back", m.name)
	d.point("good", m.name+" is back")
}

func (d *demo) switchAway(context.Context) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	d.switchTo(ctx, d.fleet.other(d.hook.Active()))
}

// introduce says what will be seen.
func (d *demo) introduce() {
	var names []string
	fmt.Fprintf(d.out, "databases: %s\n", d.fleet.kind)
	for i, m := range d.fleet.members {
		fmt.Fprintf(d.out, "  %d  %s  %s  weight %.2g\n", i+1, m.name, m.opt.Addr, m.weight)
		names = append(names, m.name)
	}
	fmt.Fprintf(d.out, "load: %d goroutines with SET, GET and INCR through one %T, for %v\n", d.cfg.workers, d.rdb, d.cfg.duration)
	switch {
	case d.cfg.cluster:
		d.introduceScript()
	case d.cfg.scenario.begin != nil:
		breakAt, mendAt := d.faultTimes()
		fmt.Fprintf(d.out, "script: at %v the active database fails (%s), at %v it is back; after %v of good health\n",
			breakAt, d.cfg.scenario.name, mendAt, d.cfg.grace)
		fmt.Fprintf(d.out, "        (Failback.GracePeriod, 15s if not set) the heavier one is active again\n")
		if expect := d.cfg.scenario.expect; expect != "" {
			fmt.Fprintf(d.out, "expect: %s\n", expect)
		}
	}
	if d.cfg.switchAt > 0 {
		fmt.Fprintf(d.out, "script: at %v a switch by hand\n", d.cfg.switchAt)
	}
	fmt.Fprintf(d.out, "keys: %s + Enter switches, r + Enter releases, Ctrl-C ends\n", strings.Join(names, " or "))
	if d.consoleAt != "" {
		fmt.Fprintf(d.out, "console: %s\n", d.consoleAt)
	}
	d.line.began = time.Now()
	if d.drawing != nil {
		d.drawing.names, d.drawing.began = names, d.line.began
	}
	d.line.header(names)
}
