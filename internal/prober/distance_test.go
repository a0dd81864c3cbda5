package prober

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Events: one PING of many meets a pause of two seconds. The timeouts stayed stretched for a minute.
func TestTimeoutsForgetOneSlowAnswer(t *testing.T) {
	d := &distance{}
	d.saw(time.Millisecond)
	d.saw(2 * time.Second)
	require.LessOrEqual(t, d.Scaled(400*time.Millisecond), 1100*time.Millisecond)
	d.saw(time.Millisecond)
	d.saw(time.Millisecond)
	require.Equal(t, 400*time.Millisecond, d.Scaled(400*time.Millisecond))
}
