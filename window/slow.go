package window

import (
	"errors"
	"fmt"
	"time"
)

const (
	defaultShare       = 0.5
	defaultMinCommands = 20
)

// SlowConfig says when the detector of [NewSlow] trips. There must be at least MinCommands answered commands
// within Window, of which a share of Share or more took longer than Bound. Failed commands do not count here: they
// are what [NewFailureRate] is for.
//
// A SlowConfig is a plain value; it is copied by everything that takes it.
type SlowConfig struct {
	// Bound is the time above which a command is slow. It has no default, for only the application
	// knows what is slow: it must be set and positive.
	Bound time.Duration

	// Share is the share of answered commands, from 0 to 1, that must have been slow within Window.
	//
	// 0 means 0.5. It cannot be off.
	Share float64

	// MinCommands is how many commands must have been answered within Window.
	//
	// 0 means 20. Negative turns it off: then one slow command is enough where Share allows it.
	MinCommands int

	// Window is how far back outcomes count.
	//
	// 0 means 5 s. It cannot be off, and at most 1 h.
	Window time.Duration

	// Buckets is into how many steps the window is divided: it moves by Window / Buckets at a time,
	// which must be 1 ms at least.
	//
	// 0 means 20. It cannot be off, and at most 1000.
	Buckets int
}

// Validate reports every problem of the settings at once, each naming its field; nil when there is none.
func (c SlowConfig) Validate() error {
	var errs []error
	if c.Bound <= 0 {
		errs = append(errs, fmt.Errorf("Bound = %v: must be set and positive", c.Bound))
	}
	// The comparison is written so that NaN fails it.
	if !(c.Share >= 0 && c.Share <= 1) {
		errs = append(errs, fmt.Errorf("Share = %v: must be a share of at most 1, or 0 for the default", c.Share))
	}
	return errors.Join(append(errs, validateWindow(c.Window, c.Buckets)...)...)
}

func (c SlowConfig) withDefaults() SlowConfig {
	if c.Share == 0 {
		c.Share = defaultShare
	}
	if c.MinCommands == 0 {
		c.MinCommands = defaultMinCommands
	}
	c.Window, c.Buckets = windowDefaults(c.Window, c.Buckets)
	return c
}

// NewSlow returns a factory of detectors that trip when commands are answered, but too slowly. They
// implement [Timed]. Settings that [SlowConfig.Validate] rejects are reported by [Factory.Validate]; the
// detectors made with them never trip.
//
// The factory and its detectors are safe for concurrent use.
func NewSlow(c SlowConfig) Factory {
	if err := c.Validate(); err != nil {
		return func() Detector { return invalid{err} }
	}
	c = c.withDefaults()
	r := slowShare{bound: c.Bound, share: c.Share, need: uint64(max(c.MinCommands, 1)), window: c.Window}
	return func() Detector { return slow{newSliding(c.Window, c.Buckets, r), c.Bound} }
}

type slow struct {
	*sliding
	bound time.Duration
}

func (d slow) SlowerThan() time.Duration { return d.bound }

type slowShare struct {
	bound  time.Duration
	share  float64
	need   uint64 // answered commands; 1 when the threshold is off
	window time.Duration
}

func (r slowShare) possible(in Sample) bool {
	return in.Slow > 0 && in.Successes >= r.need
}

func (r slowShare) judge(in Sample) Verdict {
	if !r.possible(in) || float64(in.Slow)/float64(in.Successes) < r.share {
		return Verdict{}
	}
	return Verdict{
		Failing: true,
		Reason:  fmt.Sprintf("%d of %d answered commands took longer than %v within %v", in.Slow, in.Successes, r.bound, r.window),
	}
}
