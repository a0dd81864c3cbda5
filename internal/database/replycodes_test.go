package database

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// The number of codes is the number of time series for each database.
func TestReplyCodesAreBounded(t *testing.T) {
	require.LessOrEqual(t, len(replyCodes), 17)
	var counts ReplyCounts
	for _, text := range []string{"WRONGTYPE x", "NOSCRIPT x", "ERR unknown command", "XYZZY 1", "NOPERM x", "ERR max number of clients reached"} {
		counts.Add(serverReply(text), nil)
	}
	counts.Add(redis.Nil, nil)
	counts.Add(errors.New("READONLY no reply"), nil)
	require.Equal(t, map[string]uint64{"NOPERM": 1, "MAXCLIENTS": 1}, counts.Snapshot())
}

type serverReply string

func (e serverReply) Error() string { return string(e) }

func (serverReply) RedisError() {}
