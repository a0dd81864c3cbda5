//go:build race

package multidbprometheus_test

const raceEnabled = true
