package multidb

import "github.com/redishook/multidb/internal/database"

// ReplyCodes returns every code that DatabaseStats.Replies may have, so that a collector can begin each of them with 0.
func ReplyCodes() []string { return database.ReplyCodes() }

// Reasons returns every reason that a switch may have, so that a collector can begin each of them with 0.
func Reasons() []Reason {
	return []Reason{ReasonHealthCheck, ReasonFailureDetector, ReasonFailback, ReasonManual, ReasonWeight, ReasonRemoved}
}
