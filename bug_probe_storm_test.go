package multidb

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/redistest"
)

// A passive database is asked once an interval. (A round that has ended led to the next one at once.)
func TestPassiveDatabasesAreAskedOnceAnInterval(t *testing.T) {
	var opt Options
	var servers []*redistest.Redis
	for i := range 2 {
		servers = append(servers, redistest.Start(t))
		opt.Databases = append(opt.Databases, Database{Name: fmt.Sprint("db", i), URL: "redis://" + servers[i].Addr()})
	}
	opt.Logger = slog.New(slog.DiscardHandler)
	opt.Health.Interval = 100 * time.Millisecond
	hook, err := New(t.Context(), opt)
	require.NoError(t, err)
	defer hook.Close()
	passive := servers[1]
	before := pings(t, passive)
	time.Sleep(time.Second)
	assert.InDelta(t, 10, pings(t, passive)-before, 5, "PINGs in ten intervals")
}

func pings(t *testing.T, s *redistest.Redis) int {
	info, err := s.Client().Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	m := regexp.MustCompile(`cmdstat_ping:calls=(\d+)`).FindStringSubmatch(info)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	return n
}
