package patience

import (
	"math/rand/v2"
	"testing"
	"time"
)

const timeout = 400 * time.Millisecond

// until ticks in time until the patience is over, and returns when.
func until(p *Patience, start time.Time, at func(time.Duration)) time.Duration {
	for now := start.Add(p.Step()); ; now = now.Add(p.Step()) {
		if at != nil {
			at(now.Sub(start))
		}
		if p.Tick(now) {
			return now.Sub(start)
		}
	}
}

func TestSilenceOfANearDatabase(t *testing.T) {
	start := time.Now()
	p := New(start, timeout, time.Millisecond)
	p.Reached(0)
	if got := until(p, start, nil); got != timeout {
		t.Errorf("over after %v, want %v", got, timeout)
	}
}

func TestFirstPacketHasTimeToBeSentAgain(t *testing.T) {
	start := time.Now()
	if got := until(New(start, timeout, time.Millisecond), start, nil); got != Connect {
		t.Errorf("over after %v, want %v", got, Connect)
	}
}

// Events: the way has become longer without a word, from 1 ms to 500 ms. Each phase of a new connection is answered after 500 ms:
// TCP, TLS, HELLO, SELECT, and the PING.
func TestNewConnectionOverALongWay(t *testing.T) {
	for _, rtt := range []time.Duration{100, 150, 250, 500} {
		rtt *= time.Millisecond
		start := time.Now()
		p := New(start, timeout, time.Millisecond)
		next, phase := rtt, 0
		got := until(p, start, func(now time.Duration) {
			if phase < 5 && now >= next {
				if phase++; phase == 1 {
					p.Reached(rtt)
				} else {
					p.Alive()
				}
				next += rtt
			}
		})
		if phase < 5 {
			t.Errorf("%v: over after %v, in phase %d", rtt, got, phase+1)
		}
	}
}

// A process that was paused for two seconds has waited for one step.
func TestPauseOfTheProcessIsNoWaiting(t *testing.T) {
	start := time.Now()
	p := New(start, timeout, time.Millisecond)
	p.Reached(0)
	if p.Tick(start.Add(2 * time.Second)) {
		t.Error("a pause of our own is a verdict")
	}
	if p.Waited() > 2*p.Step() {
		t.Errorf("waited %v", p.Waited())
	}
}

// A starved process whose every tick comes 300 ms late still comes to a verdict, later.
func TestStarvedProcessComesToAVerdict(t *testing.T) {
	start := time.Now()
	p := New(start, timeout, time.Millisecond)
	p.Reached(0)
	n := 0
	for now := start; !p.Tick(now); now = now.Add(300 * time.Millisecond) {
		n++
	}
	if n < Phases*12 || n > Phases*20 {
		t.Errorf("over after %d ticks", n)
	}
}

// Somebody who always says something, and never the answer.
func TestSignsOfLifeAreBounded(t *testing.T) {
	start := time.Now()
	p := New(start, timeout, 0)
	p.Reached(0)
	if got := until(p, start, func(time.Duration) { p.Alive() }); got != Phases*timeout {
		t.Errorf("over after %v", got)
	}
}

// Two hundred pauses of the process, of 0.1 to 5 s, each while a question waits for its answer. The answer has come after the round trip,
// and is read when the process runs again; the tick comes first.
func TestPausesAtAnyMomentAreNoVerdict(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 200 {
		roundTrip := time.Duration(1+r.IntN(100)) * time.Millisecond
		pauseAt := time.Duration(r.Int64N(int64(roundTrip)))
		pause := 100*time.Millisecond + time.Duration(r.Int64N(int64(4900*time.Millisecond)))
		start := time.Now()
		p := New(start, timeout, roundTrip)
		p.Reached(0)
		for now := p.Step(); now < roundTrip+pause; now += p.Step() {
			at := now
			if pauseAt < at && at < pauseAt+pause {
				at = pauseAt + pause // the one tick that is kept, when the process runs again
				now = at
			}
			if p.Tick(start.Add(at)) {
				t.Fatalf("%d: a pause of %v is a verdict, at a round trip of %v", i, pause, roundTrip)
			}
		}
	}
}
