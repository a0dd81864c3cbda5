//go:build race

package pubsubwrap

const raceEnabled = true
