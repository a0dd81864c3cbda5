package window

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const (
	tick    = 100 * ms // how often successes are taken to the detector
	healthy = 20 * sec // how long a database works before it fails: the windows are full by then
	never   = time.Duration(-1)
)

// horizon is the time after which no verdict is taken for none at all. At high traffic the pattern of failures
// has repeated hundreds of times long before a minute has passed.
func horizon(traffic int64) time.Duration {
	if traffic >= 10_000 {
		return 7 * sec
	}
	return 60 * sec
}

// simulation feeds a detector in virtual time as the hook does: a failure as it happens, with the successes
// before it; successes alone at every tick. Commands are evenly spaced.
type simulation struct {
	d       Detector
	traffic int64         // commands a second
	window  time.Duration // of the detector
	next    time.Duration // the next tick
	counted int64         // commands of which the detector has been told
	failed  time.Duration // when a command failed last; at first, when time began
}

// commandsBy is how many commands have ended at the given time, the one that ends then included.
func (s *simulation) commandsBy(at time.Duration) int64 {
	return int64(at)*s.traffic/int64(sec) + 1
}

// timeOf is when a command ends; the first one has number 0.
func (s *simulation) timeOf(command int64) time.Duration {
	return time.Duration((command*int64(sec) + s.traffic - 1) / s.traffic)
}

// until takes all ticks before the given time, and says when the first of them found the database failing.
func (s *simulation) until(at time.Duration) (time.Duration, bool) {
	for s.next < at {
		now := s.next
		s.next += tick
		// Ticks make no difference where the window holds no failure and none comes before everything
		// in it has grown old again. Whole windows are left out, so that its buckets stay where they are.
		if windows := (at - now) / s.window; now > s.failed+s.window && windows > 1 {
			s.next = now + (windows-1)*s.window
		}
		if s.look(now, 0) {
			return now, true
		}
	}
	return 0, false
}

// fail takes all ticks before the command, then lets it fail.
func (s *simulation) fail(command int64) (time.Duration, bool) {
	at := s.timeOf(command)
	if earlier, tripped := s.until(at); tripped {
		return earlier, true
	}
	s.failed = at
	return at, s.look(at, 1)
}

func (s *simulation) look(at time.Duration, failures int64) bool {
	n := s.commandsBy(at)
	s.d.Record(after(at), Sample{Successes: uint64(n - s.counted - failures), Failures: uint64(failures)})
	s.counted = n
	return s.d.Verdict(after(at)).Failing
}

// timeToVerdict lets a database work without a fault for a while, then lets that many of a thousand of its
// commands fail, evenly spaced, and says how long it takes until the detector trips.
func timeToVerdict(d Detector, c Config, traffic, permille int64) time.Duration {
	s := simulation{d: d, traffic: traffic, window: c.Window}
	end := healthy + horizon(traffic)
	first := int64(healthy) * traffic / int64(sec) // the first command that may fail
	for failure := int64(1); ; failure++ {
		// The n-th failure is the command with which n/permille thousands are complete.
		command := first + (1000*failure+permille-1)/permille - 1
		if s.timeOf(command) > end {
			at, tripped := s.until(end)
			if !tripped {
				return never
			}
			return at - healthy
		}
		if at, tripped := s.fail(command); tripped {
			return at - healthy
		}
	}
}

// falseVerdicts counts the verdicts in a span of time in which every command fails by chance alone.
func falseVerdicts(c Config, traffic, permille int64, span time.Duration) (n int) {
	s := simulation{d: NewFailureRate(c)(), traffic: traffic, window: c.withDefaults().Window}
	chance := rand.New(rand.NewPCG(uint64(traffic), uint64(permille)))
	// The number of successes before the next failure, drawn at once.
	perFailure := -math.Log1p(-float64(permille) / 1000)
	for command := int64(-1); ; {
		command += 1 + int64(chance.ExpFloat64()/perFailure)
		if s.timeOf(command) > span {
			return n
		}
		if _, tripped := s.fail(command); tripped {
			n++
			s.d.Reset()
		}
	}
}

// checked is a detector whose verdicts are checked against every sample it was given: at each, some window
// that is exact to the width of one bucket must really hold as many failures and as high a share of them.
type checked struct {
	Detector
	t        *testing.T
	cfg      Config // with its defaults
	events   []event
	verdicts int
}

func (c *checked) Record(at time.Time, s Sample) {
	now := at.Sub(t0)
	if s.Failures > 0 { // an old sample is kept until then; it is too old for naive anyway
		old := 0
		for old < len(c.events) && now-c.events[old].at >= c.cfg.Window {
			old++
		}
		c.events = c.events[old:]
	}
	c.events = append(c.events, event{now, s})
	c.Detector.Record(at, s)
}

func (c *checked) Verdict(at time.Time) Verdict {
	v := c.Detector.Verdict(at)
	if !v.Failing {
		return v
	}
	c.verdicts++
	for _, in := range naiveSums(c.events, at.Sub(t0), c.cfg.Window, c.cfg.Window/time.Duration(c.cfg.Buckets)) {
		if in.Failures >= uint64(c.cfg.MinFailures) && share(in.Failures, in.Successes) >= c.cfg.FailureRate {
			return v
		}
	}
	assert.Fail(c.t, "a verdict below threshold", "%s at %v", v.Reason, at.Sub(t0))
	return v
}
