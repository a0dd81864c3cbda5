//go:build !race

package multidb

const raceEnabled = false
