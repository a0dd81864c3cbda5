package database

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/reply"
)

// replyCodes are the codes of replies by which a server refuses what it is asked, whatever the command. Statistics count
// them one by one, so the list must stay short: it is the number of time series for each database. The last one stands for
// every other reply that counts as a failure.
var replyCodes = [...]string{
	"LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "MISCONF", "MAXCLIENTS",
	"BUSY", "UNBLOCKED", "DENIED", "OOM", "PROXY", "NOAUTH", "WRONGPASS", "NOPERM", OtherCode,
}

// OtherCode stands for every reply that counts as a failure and has no code of its own.
const OtherCode = "other"

// ReplyCodes returns every code that is counted.
func ReplyCodes() []string { return slices.Clone(replyCodes[:]) }

// ReplyCounts counts replies by code.
type ReplyCounts [len(replyCodes)]atomic.Uint64

// Add counts the reply in err, if it is one of those that are counted; seen holds a bit for each code that was counted for the
// same batch already, because one reply may be the error of every command in it.
func (c *ReplyCounts) Add(err error, seen *uint32) {
	i, ok := replyCodeOf(err)
	if !ok || seen != nil && *seen&(1<<i) != 0 {
		return
	}
	c[i].Add(1)
	if seen != nil {
		*seen |= 1 << i
	}
}

// Snapshot returns the counts that are not 0.
func (c *ReplyCounts) Snapshot() map[string]uint64 {
	var counts map[string]uint64
	for i := range c {
		if n := c[i].Load(); n > 0 {
			if counts == nil {
				counts = make(map[string]uint64)
			}
			counts[replyCodes[i]] = n
		}
	}
	return counts
}

// Count counts a refusal by its code, or as another one, and returns what is counted.
func (c *ReplyCounts) Count(err error) (code string) {
	i, counted := replyCodeOf(err)
	if !counted {
		i = indexOfCode(OtherCode)
		c[i].Add(1) // a reply that the user has a word about
	}
	return replyCodes[i]
}

// replyCodeOf returns the index in replyCodes of the reply in err.
func replyCodeOf(err error) (index int, ok bool) {
	if err == nil || err == redis.Nil { //nolint:errorlint // the usual case, and never wrapped by the server
		return 0, false
	}
	if !goredis.IsReply(err) || errors.Is(err, redis.Nil) {
		return 0, false
	}
	text := goredis.ReplyText(err)
	if row, ok := reply.Of(text); ok {
		return indexOfCode(row.Code), true
	}
	for i, code := range replyCodes[:len(replyCodes)-1] {
		if strings.HasPrefix(text, code+" ") {
			return i, true
		}
	}
	return 0, false
}

func indexOfCode(code string) int {
	for i, c := range replyCodes {
		if c == code {
			return i
		}
	}
	panic("multidb: no such reply code: " + code)
}
