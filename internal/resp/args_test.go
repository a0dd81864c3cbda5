package resp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArgumentsAreFoundByNumber(t *testing.T) {
	p := []byte(request("BLPOP", "q", "", "30"))
	for i, want := range []string{"BLPOP", "q", "", "30"} {
		arg, n := Arg(p, i)
		require.Equal(t, want, string(arg))
		require.Equal(t, 4, n)
	}
	last, _ := Arg(p, -1)
	require.Equal(t, "30", string(last))
	none, n := Arg(p, 4)
	require.Nil(t, none)
	require.Equal(t, 4, n)
	cut, n := Arg(p[:len(p)-4], 3)
	require.Nil(t, cut, "it is not all there")
	require.Equal(t, 4, n)
	for _, p := range []string{"", "*", "PING\r\n", "*x\r\n$1\r\na\r\n", "*1\r\n+PING\r\n"} {
		arg, _ := Arg([]byte(p), 0)
		require.Nil(t, arg, "%q", p)
	}
}
