package txwrap

import (
	"math/rand/v2"
	"time"

	"github.com/redishook/multidb/internal/wait"
)

// Options say how often a transaction is run again. Of every field, 0 is the default and a negative value switches the
// thing off. Use it in place of the functions of the package:
//
//	err := txwrap.Options{AfterRace: 3}.Watch(ctx, rdb, fn, "key")
//
// A value; its methods are safe for concurrent use.
type Options struct {
	// AfterSwitch is how often a transaction may be run again that was surely not executed. It lost its connection
	// or its database before EXEC was sent. Or its EXEC was refused because the database cannot serve now
	// (READONLY, LOADING, ..., and the EXECABORT that comes of it). After a switch this happens at once, else
	// after a short backoff (5 ms, doubled up to 250 ms). What is lost while a cluster replaces a master does not
	// count. Default: 8.
	AfterSwitch int

	// AfterRace is how often a transaction may be run again because a watched key had been changed. A budget of its own:
	// contention is no fault of a database. Default: 16.
	AfterRace int

	// RaceJitter is the longest pause before a transaction that lost a race is run again; the pause is random, so that
	// two that meet part. Default: 2ms. Negative: none.
	RaceJitter time.Duration

	// RunUnansweredAgain also runs a transaction again whose EXEC was sent and not answered, as if it had not been sent.
	// It may be applied twice then: for transactions that set the same state whenever they run. Default: false.
	RunUnansweredAgain bool
}

const (
	defaultAfterSwitch = 8
	defaultAfterRace   = 16
	defaultRaceJitter  = 2 * time.Millisecond

	minBackoff = 5 * time.Millisecond
	maxBackoff = 250 * time.Millisecond
)

func (o Options) withDefaults() Options {
	if o.AfterSwitch == 0 {
		o.AfterSwitch = defaultAfterSwitch
	}
	if o.AfterRace == 0 {
		o.AfterRace = defaultAfterRace
	}
	if o.RaceJitter == 0 {
		o.RaceJitter = defaultRaceJitter
	}
	return o
}

// jitter is the pause after a lost race.
func (o Options) jitter() time.Duration {
	if o.RaceJitter <= 0 {
		return 0
	}
	return rand.N(o.RaceJitter)
}

// backoff is the pause before the n-th further attempt (from 0) where there was no switch.
func backoff(n int) time.Duration {
	d := wait.Backoff(n, minBackoff, maxBackoff)
	return d + rand.N(d/5+1)
}
