package callback

import "runtime/debug"

// Panic is what a user's function has panicked with.
type Panic struct {
	Value any
	Stack []byte
}

// Guard calls a user's function and survives its panic, which it returns; nil if there was none. Like every recover, it does
// not survive runtime.Goexit.
func Guard(call func()) (panicked *Panic) {
	defer func() {
		if r := recover(); r != nil {
			panicked = &Panic{Value: r, Stack: debug.Stack()}
		}
	}()
	call()
	return nil
}

// Ask calls a user's function and returns its answer, or the other answer if it panics.
func Ask[T any](call func() T, otherwise T) T {
	answer := otherwise
	if Guard(func() { answer = call() }) != nil {
		return otherwise
	}
	return answer
}
