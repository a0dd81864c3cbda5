package multidb

import "time"

// ChangeKind says what somebody has changed.
type ChangeKind string

// The kinds of changes.
const (
	ChangeAdded    ChangeKind = "added"    // Add
	ChangeRemoved  ChangeKind = "removed"  // Remove
	ChangeWeight   ChangeKind = "weight"   // SetWeight
	ChangePinned   ChangeKind = "pinned"   // SetActive or ForceActive
	ChangeUnpinned ChangeKind = "unpinned" // the end of a manual choice, see Change.Why
)

// Change is what was changed at run time, by a method of control or by the end of what one has begun. A move to another database
// is a [Switch] as well.
type Change struct {
	// Kind says what was changed.
	Kind ChangeKind
	// Database is the name of the database that it is about.
	Database string
	// Weight is the weight of the database now; of ChangeWeight, Before is what it was.
	Weight, Before float64
	// For is how long the choice of ChangePinned stands; 0: until Release.
	For time.Duration
	// Why is what has ended the choice of ChangeUnpinned: one of the Unpinned constants. Empty for every other kind.
	Why string
}

// What ends a manual choice.
const (
	UnpinnedReleased = "released" // Release was called
	UnpinnedOver     = "over"     // its time was over
	UnpinnedReplaced = "replaced" // another manual choice was made
	UnpinnedLeft     = "left"     // the database was left, because it failed or was removed
)
