package replay

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBlocks: a command that may wait for another client, in upper and lower case.
func TestBlocks(t *testing.T) {
	for name, want := range map[string]bool{
		"blpop": true, "BLPOP": true, "XReadGroup": true, "wait": true, "WAITAOF": true, "get": false, "GET": false, "": false,
	} {
		require.Equal(t, want, Blocks([]byte(name)), name)
	}
}
