package probes

import "fmt"

// Policy says how many of a check's probes must pass. The zero Policy is All.
type Policy int

const (
	// All: every probe must pass; the first failure decides.
	All Policy = iota
	// Majority: more than half of the probes must pass: 2 of 2, 2 of 3, 3 of 4.
	Majority
	// Any: one probe must pass; the first success decides.
	Any
)

// String returns all, majority or any.
func (p Policy) String() string {
	switch p {
	case All:
		return "all"
	case Majority:
		return "majority"
	case Any:
		return "any"
	}
	return fmt.Sprintf("Policy(%d)", int(p))
}

// required returns how many of n probes must pass.
func (p Policy) required(n int) int {
	switch p {
	case Majority:
		return n/2 + 1
	case Any:
		return 1
	}
	return n
}

// passes tells whether so many passed probes of n are enough.
func (p Policy) passes(passed, n int) bool { return passed >= p.required(n) }

// fails tells whether so many failed probes of n leave too few to be enough.
func (p Policy) fails(failed, n int) bool { return failed > n-p.required(n) }
