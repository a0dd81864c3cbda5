package window

import (
	"errors"
	"time"
)

// Sample is what has happened to a database's commands since the previous sample.
type Sample struct {
	// Successes is how many commands were answered. An error reply that is the caller's own doing
	// (wrong type, syntax, a missing script) is an answer.
	Successes uint64

	// Failures is how many commands failed because of the database.
	Failures uint64

	// Slow is how many of the Successes took longer than the bound of this detector, if it implements [Timed]; else 0.
	Slow uint64
}

// Verdict is what a [Detector] thinks of its database at one moment.
type Verdict struct {
	// Failing is true when the database must be considered failing.
	Failing bool

	// Reason says why in words for a log line, such as "12 of 30 commands failed within 2s"; empty
	// when Failing is false.
	Reason string
}

// Detector judges one database by the outcomes of its commands.
//
// Implementations must be safe for concurrent use, must not block, and must not call the hook or the
// client they judge. The times they are given may go backwards a little when commands end concurrently.
type Detector interface {
	// Record takes what has happened up to the time at. Failures arrive as they happen; successes
	// are gathered first, and arrive with the next failure or about 100 ms later.
	Record(at time.Time, s Sample)

	// Verdict says whether the database must be considered failing at that moment, and why. It is
	// asked after every failure, so it is cheap when there is nothing to say.
	Verdict(at time.Time) Verdict

	// Reset forgets everything: the database has just become active or has recovered, and what
	// happened before says nothing about it now.
	Reset()
}

// Timed is implemented by a [Detector] that also wants to know how many commands were slow, each by a bound of its own.
//
// What is measured is the database and the way to it: the time from a request written to the first byte of its
// reply. An error reply or a nil counts like any other. The wait for a connection and making one are not in it,
// and commands that wait by nature (BLPOP, XREAD, WAIT, ...) are left out. The Successes that such a detector is
// told of are the requests that were measured; a pipeline is one. So Slow is always a share of them. Nothing is
// measured for a database none of whose detectors implements Timed.
type Timed interface {
	// SlowerThan is the bound: a command answered in more than that counts in [Sample.Slow]. It must
	// be positive and always the same.
	SlowerThan() time.Duration
}

// Counting is implemented by a [Detector] that tells what it has in its window, for statistics. The built-in ones do.
type Counting interface {
	// Total is what has happened within the window that ends at the time at. Safe for concurrent use.
	Total(at time.Time) Sample
}

// Factory makes a detector in its initial state. Configuration carries factories and no detectors,
// because a detector holds the state of one database and must not be shared between two.
//
// A Factory is safe for concurrent use when the function is.
type Factory func() Detector

// Validate makes one detector and reports what is wrong with it. It reports a Factory that is nil or makes nil,
// and what the detector's own method Validate() error says if there is one. It is how the settings given to
// [NewFailureRate] and [NewSlow] are reported, which have no error to return themselves.
func (f Factory) Validate() error {
	if f == nil {
		return errors.New("window: the Factory is nil")
	}
	d := f()
	if d == nil {
		return errors.New("window: the Factory made a nil Detector")
	}
	if v, ok := d.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// invalid stands in for a detector whose settings are wrong, so that a factory can be written in an
// options literal and its error be reported with all the others.
type invalid struct{ err error }

func (invalid) Record(time.Time, Sample)  {}
func (invalid) Verdict(time.Time) Verdict { return Verdict{} }
func (invalid) Reset()                    {}
func (i invalid) Validate() error         { return i.err }
