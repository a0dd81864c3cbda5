package txwrap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/reply"
)

// execRefused is an EXEC that was certainly not executed because the database cannot serve now: it has become a replica, say.
// The answer to EXEC is EXECABORT then, which a caller cannot tell from a mistake in a command.
type execRefused struct {
	abort error // the answer to EXEC
	cause error // the reply that says why
}

// execRefusedOf returns the refusal of MULTI … EXEC, or nil if it is something else: inside are the commands between the two,
// abort is the answer to EXEC itself. Only that is asked, for a script may say EXECABORT as well.
func execRefusedOf(inside []redis.Cmder, abort error) *execRefused {
	if !goredis.IsReply(abort) || !strings.HasPrefix(abort.Error(), "EXECABORT ") {
		return nil
	}
	for _, cmd := range inside {
		if e := cmd.Err(); e != nil && goredis.IsReply(e) && cannotServe(e) {
			return &execRefused{abort, e} // a command could not be queued
		}
	}
	// The database has changed between the last command and EXEC, and says so in the answer to EXEC.
	if _, text, found := strings.Cut(abort.Error(), "discarded because of: "); found {
		if cause := quoted(text); cannotServe(cause) {
			return &execRefused{abort, cause}
		}
	}
	return nil
}

// cannotServe reports a reply after which another database, or a later time, may serve. A full database is not left for its
// OOM, so the same transaction would meet it again.
func cannotServe(cause error) bool {
	row, known := reply.Of(goredis.ReplyText(cause))
	return multidb.SafeToRetry(cause) && !(known && row.Stay)
}

// behind reports whether err, which the function returned, is that of the refused EXEC.
func (r *execRefused) behind(err error) bool { return r != nil && errors.Is(err, r.abort) }

// explain puts the cause before err, so that a caller finds that reply first and not EXECABORT.
func (r *execRefused) explain(err error) error {
	if !r.behind(err) {
		return err
	}
	return fmt.Errorf("%w (%w)", r.cause, err)
}

// quoted is a reply that was found in the text of another one.
type quoted string

func (e quoted) Error() string { return string(e) }

// RedisError makes it a redis.Error.
func (e quoted) RedisError() {}
