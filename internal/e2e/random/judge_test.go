package random_test

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
)

// judge compares what the caller of a group has got with what the databases say that they have done.
func (w *world) judge(g *group) {
	executed, taken, failed, refused := false, false, false, false
	for _, c := range g.calls {
		c.mu.Lock()
		executed = executed || c.executed > 0 && c.rung > multidb.ReplayRead
		taken = taken || c.taken > 0
		refused = refused || c.refusals() > 0
		c.mu.Unlock()
	}
	if refused && g.way == cloned {
		return // no hook sees it, and go-redis runs a pipeline again whose first command was refused
	}
	for i, c := range g.calls {
		err := g.cmds[i].Err()
		failed = failed || err != nil
		if problem := w.judgeCall(g, c, g.cmds[i], taken); problem != "" {
			c.mu.Lock()
			w.wrong("%s, %q (%d of %d): %s\n got %.300s\n said %.600v\n executed %d, taken %d; the whole: %v",
				g.way, c.args, i+1, len(g.calls), problem, seen(g.cmds[i]), c.said, c.executed, c.taken, g.whole)
			c.mu.Unlock()
		}
	}
	if !g.batch {
		return
	}
	switch {
	case failed && g.whole == nil:
		w.wrong("%s: a command failed, and Exec says nothing", g.way)
	case !failed && g.whole != nil && !errors.Is(g.whole, redis.TxFailedErr):
		w.wrong("%s: no command failed, and Exec says %v", g.way, g.whole)
	case multidb.SafeToRetry(g.whole) && executed:
		w.wrong("%s: a command was executed, and Exec says that a retry is safe: %v", g.way, g.whole)
	}
}

// judgeCall returns what is wrong with the outcome of one command, or "".
func (w *world) judgeCall(g *group, c *call, cmd redis.Cmder, taken bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := cmd.Err()
	again := c.rung <= w.replay || w.caching && c.rung == multidb.ReplayRead // go-redis asks again for what it caches
	if c.executed > 1 && (!again || g.tx) {
		return "executed more than once"
	}
	var command *multidb.CommandError
	isCommand := errors.As(err, &command)
	down := errors.Is(err, multidb.ErrNoDatabase) // which may hold the reply of the attempt before
	switch {
	case multidb.SafeToRetry(err) && c.executed > 0:
		return "executed, and called safe to retry"
	case err == nil || !isCommand && !down && isReply(err):
		return w.judgeAnswer(g, c, cmd)
	case w.calm():
		return "an error although nothing is wrong"
	case down, g.tx && errors.Is(err, redis.TxFailedErr):
		return ""
	case !isCommand:
		return w.judgeOther(err)
	case !command.Sent && c.executed > 0:
		return "executed, and called not sent"
	case !command.Sent && c.taken > c.refusals() && !g.tx:
		return "a byte was taken, and called not sent"
	case w.coalesce && !g.batch && c.rung == multidb.ReplayRead: // after a loss any of them may be what was lost
	case command.Sent && !taken && !g.tx && !w.auto(g.way): // MULTI is nobody's call, and an autopipeliner's batch is many's
		return "nothing was taken, and called sent"
	}
	return ""
}

// refusals requires c.mu.
func (c *call) refusals() (n int) {
	for _, said := range c.said {
		if said.refused {
			n++
		}
	}
	return n
}

// judgeAnswer judges a command that was answered: by the last word of a database. It requires c.mu.
func (w *world) judgeAnswer(g *group, c *call, cmd redis.Cmder) string {
	got := seen(cmd)
	for i, said := range c.said {
		// A database may execute what it had received before its connection was cut, after the second run was answered.
		if got == said.text && (i == len(c.said)-1 || c.executed > 1 && !said.refused) {
			return ""
		}
	}
	if cmd.Err() == nil {
		return "no database has said that last"
	}
	if !g.tx {
		return "no database has said this error last"
	}
	// MULTI, EXEC or a command beside was refused, or the transaction was given up.
	text := cmd.Err().Error()
	refused := strings.HasPrefix(text, "EXECABORT") || errors.Is(cmd.Err(), redis.TxFailedErr) || errors.Is(cmd.Err(), redis.Nil)
	for _, r := range refusals {
		refused = refused || text == r
	}
	switch {
	case !refused && len(c.said) > 0 && c.said[len(c.said)-1].refused:
		return ""
	case !refused:
		return "an error of nobody's"
	case c.executed > 0:
		return "executed, and called refused"
	}
	return ""
}

// judgeOther judges an error that is neither a reply nor about a database.
func (w *world) judgeOther(err error) string {
	for _, known := range []string{
		"redis: connection pool timeout", "context deadline exceeded", "bad connection", "redis: client is closed", "i/o timeout",
	} {
		if strings.Contains(err.Error(), known) {
			return ""
		}
	}
	return "an error of no known kind"
}
