package window

import (
	"errors"
	"fmt"
	"time"
)

const (
	defaultMinFailures = 5
	defaultFailureRate = 0.1
	defaultWindow      = 5 * time.Second
	defaultBuckets     = 20

	// maxWindow keeps "seconds" honest: outcomes of an hour ago say nothing about a database now.
	maxWindow = time.Hour
	// maxBuckets bounds the memory of a window: 24 bytes a bucket.
	maxBuckets = 1000
	// minBucket is far below the time between two looks at a window; less only costs.
	minBucket = time.Millisecond
)

// Config says when the detector of [NewFailureRate] trips: at MinFailures failures and a share of
// FailureRate failed commands, both within Window. The zero value is the default.
//
// A Config is a plain value; it is copied by everything that takes it.
type Config struct {
	// MinFailures is how many commands must have failed within Window. It keeps a few unlucky
	// commands from condemning a quiet database.
	//
	// 0 means 5. Five failures fit into the default window at one command a second, so the quietest
	// service that can tell anything still trips. Where a window holds so few commands that five are 10 % of it,
	// and one in a thousand fails, five practically never meet by chance. DETECTION.md has the numbers for more
	// failures than that. The peers' 1000 in 2 s never trips below 500 failing commands a second.
	//
	// Negative turns it off: then one failure is enough where FailureRate allows it.
	MinFailures int

	// FailureRate is the share of commands, from 0 to 1, that must have failed within Window. It
	// keeps a busy database that loses one command in a thousand from being left for being busy.
	//
	// 0 means 0.1. Negative turns it off: then MinFailures alone decides, however many commands
	// succeed meanwhile. It cannot be off together with MinFailures.
	FailureRate float64

	// Window is how far back outcomes count. A longer one trips at lower traffic, a shorter one
	// trips sooner at high traffic.
	//
	// 0 means 5 s. It cannot be off, and at most 1 h.
	Window time.Duration

	// Buckets is into how many steps the window is divided: it moves by Window / Buckets at a time,
	// which must be 1 ms at least.
	//
	// 0 means 20. It cannot be off, and at most 1000.
	Buckets int
}

// Peers is the setting that redis-py, Jedis and Lettuce have by default: 1000 failures and 10 % of all
// commands within 2 s. It needs 500 failing commands a second to trip at all.
func Peers() Config {
	return Config{MinFailures: 1000, FailureRate: 0.1, Window: 2 * time.Second}
}

// Validate reports every problem of the settings at once, each naming its field; nil when there is none.
func (c Config) Validate() error {
	var errs []error
	// The comparison is written so that NaN fails it.
	if !(c.FailureRate <= 1) {
		errs = append(errs, fmt.Errorf("FailureRate = %v: must be a share of at most 1, 0 for the default or negative for off", c.FailureRate))
	}
	if c.MinFailures < 0 && c.FailureRate < 0 {
		errs = append(errs, fmt.Errorf("MinFailures = %d and FailureRate = %v: must not both be off", c.MinFailures, c.FailureRate))
	}
	return errors.Join(append(errs, validateWindow(c.Window, c.Buckets)...)...)
}

// withDefaults returns the settings with every zero replaced by its default.
func (c Config) withDefaults() Config {
	if c.MinFailures == 0 {
		c.MinFailures = defaultMinFailures
	}
	if c.FailureRate == 0 {
		c.FailureRate = defaultFailureRate
	}
	c.Window, c.Buckets = windowDefaults(c.Window, c.Buckets)
	return c
}

func windowDefaults(window time.Duration, buckets int) (time.Duration, int) {
	if window == 0 {
		window = defaultWindow
	}
	if buckets == 0 {
		buckets = defaultBuckets
	}
	return window, buckets
}

// validateWindow is what Config and SlowConfig have in common.
func validateWindow(window time.Duration, buckets int) []error {
	var errs []error
	if window < 0 || window > maxWindow {
		errs = append(errs, fmt.Errorf("Window = %v: must be positive and at most %v, or 0 for the default", window, maxWindow))
	}
	if buckets < 0 || buckets > maxBuckets {
		errs = append(errs, fmt.Errorf("Buckets = %d: must be positive and at most %d, or 0 for the default", buckets, maxBuckets))
	}
	if errs != nil {
		return errs
	}
	if window, buckets := windowDefaults(window, buckets); window/time.Duration(buckets) < minBucket {
		errs = append(errs, fmt.Errorf("Window = %v: must be %v or more for each of %d Buckets", window, minBucket, buckets))
	}
	return errs
}
