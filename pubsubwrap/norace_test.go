//go:build !race

package pubsubwrap

const raceEnabled = false
