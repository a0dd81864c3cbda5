//go:build !race

package testkit

// RaceEnabled reports whether the test runs with the race detector, which multiplies processor time and allocations.
const RaceEnabled = false
