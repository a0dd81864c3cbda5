package cluster

// What becomes of the commands of a pipeline that was split by node and did not go through.

// Outcome is what has become of one command.
type Outcome int

// The outcomes of a command.
const (
	Answered    Outcome = iota // by the server, with a value or an error of the command's own
	Excluded                   // the caller gave up, or a failure on this side: nothing to be run again
	NotSent                    // certainly not executed
	CannotServe                // refused by a node that cannot serve now: not executed
	Misrouted                  // redirected, and the redirect was not followed to its end: not executed
	Lost                       // sent and not answered: nobody knows
)

// Reply is one command of a batch after an attempt.
type Reply struct {
	Outcome Outcome
	// Part identifies what was lost with one connection, for Lost; comparable. Nil: this command alone.
	Part any
	// Slot is that of the command, or NoSlot.
	Slot int
	// Once: the command must not be sent again once it may have been sent, and not run again after a refusal.
	Once bool
}

// Again decides which commands of a batch are run again, and returns their indexes in order. harmless reports whether all of
// the given commands may be executed twice, in their order. The rules:
//
//  1. What was lost with one connection is one part. Each part by itself: all of it if all of it is harmless, else none of it.
//  2. What was not sent is run again.
//  3. What was refused or redirected is run again, unless a later command of the same slot was executed or may have been and
//     is not run again: the order within a slot would change. A command without a slot may be of any.
//
// deciding is the index of the failure that the whole is about: of the first that was lost, else of the first that failed; -1
// if none has. more says that something is left that is not run again.
func Again(replies []Reply, harmless func(indexes []int) bool) (again []int, deciding int, more bool) {
	parts := make(map[any][]int)
	for i, r := range replies {
		if r.Outcome == Lost {
			parts[partOf(r, i)] = append(parts[partOf(r, i)], i)
		}
	}
	safe := make(map[any]bool, len(parts))
	for part, indexes := range parts {
		safe[part] = harmless(indexes)
	}
	deciding = -1
	executed := lastExecuted{bySlot: make(map[int]bool)}
	chosen := make([]bool, len(replies))
	for i := len(replies) - 1; i >= 0; i-- { // what is later is known when the earlier is decided
		r := replies[i]
		switch r.Outcome {
		case Answered:
			executed.note(r.Slot)
			continue
		case Lost:
			chosen[i] = safe[partOf(r, i)] && !r.Once
			if !chosen[i] {
				executed.note(r.Slot)
			}
		case NotSent:
			chosen[i] = !r.Once
		case CannotServe, Misrouted:
			chosen[i] = !r.Once && !executed.has(r.Slot)
		}
		if deciding < 0 || r.Outcome == Lost || replies[deciding].Outcome != Lost {
			deciding = i
		}
		more = more || !chosen[i]
	}
	for i, yes := range chosen {
		if yes {
			again = append(again, i)
		}
	}
	return again, deciding, more
}

// alone is the part of a command that was lost with no other.
type alone int

func partOf(r Reply, i int) any {
	if r.Part == nil {
		return alone(i)
	}
	return r.Part
}

// lastExecuted knows the slots for which something was executed.
type lastExecuted struct {
	bySlot map[int]bool
	any    bool
}

func (l *lastExecuted) note(slot int) {
	l.any = true
	l.bySlot[slot] = true
}

func (l *lastExecuted) has(slot int) bool {
	if slot == NoSlot {
		return l.any
	}
	return l.bySlot[slot] || l.bySlot[NoSlot]
}
