package callback

import (
	"bytes"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A panic costs its own function and nothing else; neither does a function that ends its goroutine.
func TestQueueDeliversAllInOrder(t *testing.T) {
	var out bytes.Buffer
	q := New(slog.New(slog.NewTextHandler(&out, nil)))
	q.Start()
	var seen []int
	for i := range 6 {
		q.Push(func() {
			seen = append(seen, i)
			switch i {
			case 2:
				panic("two")
			case 4:
				runtime.Goexit()
			}
		})
	}
	q.Close()
	q.Push(func() { t.Error("it was pushed after Close") })
	require.NoError(t, q.Wait(10*time.Second))
	require.Equal(t, []int{0, 1, 2, 3, 4, 5}, seen)
	require.Contains(t, out.String(), "panic=two")
}

// What does not return is left to itself.
func TestQueueWaitEnds(t *testing.T) {
	q := New(slog.New(slog.DiscardHandler))
	q.Start()
	release := make(chan struct{})
	q.Push(func() { <-release })
	q.Close()
	require.ErrorContains(t, q.Wait(time.Millisecond), "has not returned within 1ms")
	close(release)
	require.NoError(t, q.Wait(10*time.Second))
}

func TestAskReturnsTheOtherAnswerOfAPanic(t *testing.T) {
	require.Equal(t, 1, Ask(func() int { return 1 }, 2))
	require.Equal(t, 2, Ask(func() int { panic("no") }, 2))
	p := Guard(func() { panic("no") })
	require.Equal(t, "no", p.Value)
	require.Contains(t, string(p.Stack), "TestAskReturns")
}

// A subject is pushed once in an interval, and each subject by itself.
func TestSeldomPushesASubjectOnceInAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(slog.New(slog.DiscardHandler))
		q.Start()
		var pushed []string
		for range 3 {
			for _, subject := range []string{"a", "b"} {
				q.Seldom(time.Minute, subject, func() { pushed = append(pushed, subject) })
			}
			time.Sleep(40 * time.Second)
		}
		q.Close()
		require.NoError(t, q.Wait(time.Second))
		require.Equal(t, []string{"a", "b", "a", "b"}, pushed) // at 0 s and at 80 s
	})
}
