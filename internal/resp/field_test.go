package resp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFieldsOfTheReplyToHello(t *testing.T) {
	fields := "$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:4711\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*1\r\n*2\r\n+a\r\n+b\r\n+mode\r\n+standalone\r\n"
	for _, reply := range []string{"%6\r\n" + fields, "*12\r\n" + fields} {
		for name, want := range map[string]string{"id": "4711", "role": "master", "proto": "3", "mode": "standalone"} {
			got, ok := Field([]byte(reply), name)
			require.True(t, ok, name)
			require.Equal(t, want, string(got))
		}
		for _, name := range []string{"modules", "none", ""} {
			_, ok := Field([]byte(reply), name)
			require.False(t, ok, name)
		}
		for n := range len(reply) {
			Field([]byte(reply)[:n], "mode") // must not panic
		}
	}
	_, ok := Field([]byte("-ERR unknown command\r\n"), "id")
	require.False(t, ok)
}

func FuzzField(f *testing.F) {
	f.Add([]byte("%1\r\n$2\r\nid\r\n:4711\r\n"))
	f.Add([]byte("*2\r\n$2\r\nid\r\n$999999999\r\nx"))
	f.Fuzz(func(_ *testing.T, reply []byte) { Field(reply, "id") })
}
