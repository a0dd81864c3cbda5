package conn

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAWaitIsEndedOnlyIfNothingElseIsOwed(t *testing.T) {
	alone := func(l *Ledger) bool {
		_, alone := l.Awaits()
		return alone
	}
	l := NewLedger(nil)
	l.Begin(words("incr n", "blpop q 3"))
	require.False(t, alone(l), "the reply before it has not come")
	l.Received([]byte(":1\r\n"))
	require.True(t, alone(l))
	l.Begin(words("incr n"))
	require.False(t, alone(l), "what follows would be run in its place")

	l = NewLedger(nil)
	l.Begin(words("wait 1 0"))
	require.False(t, alone(l), "it is about the writes of its own connection")
	l.Received([]byte(":0\r\n"))
	l.Begin(words("xread block 0 streams s $"))
	require.True(t, alone(l))
	l.Received([]byte("_\r\n"))
	require.False(t, alone(l))
	l.Begin(words("xread streams s 0"))
	require.False(t, alone(l), "it does not wait")

	l = NewLedger(nil)
	p := words("blpop q 0")
	l.Begin(p)
	l.Undo(p, 0)
	l.Begin(words("get k"))
	require.False(t, alone(l), "the wait was never sent")
}
