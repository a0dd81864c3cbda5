package multidbtest

import (
	"strings"
	"time"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// Each fault stays until Restore; several may be there at a time. When a method returns, the fault is there.

// Kill is a process that dies: connections end, dials are refused. The data is there again after Restore; for a database
// that comes back empty, call Data.FlushAll before that.
func (d *Database) Kill() { d.proxy.Refuse() }

// DieAfter executes the next of these commands, and then the database is gone before it answers, as after Kill.
// Nobody can know whether the command was executed. Without names it is the next command that writes.
func (d *Database) DieAfter(commands ...string) {
	d.proxy.DieAfter(faultproxy.First(1, d.server.matching(commands)))
}

// Hang is a process that is stopped, or a way that swallows everything: connections stay and are accepted, and nothing
// comes back. What was sent meanwhile is executed after Restore, even if its sender has given up.
func (d *Database) Hang() { d.proxy.Hang() }

// RefuseNew refuses new connections and serves those that exist: a security group, a full accept queue.
func (d *Database) RefuseNew() { d.proxy.RefuseNew() }

// RefuseLogins answers logins with WRONGPASS and serves connections that have logged in: a password that was changed.
func (d *Database) RefuseLogins() {
	d.server.refuse("WRONGPASS invalid username-password pair or user is disabled.", faultproxy.Named("HELLO", "AUTH"))
}

// Refuse answers with an error in place of executing, for instance
//
//	pair.East.Refuse("READONLY You can't write against a read only replica.")
//
// Without names of commands, the answer is given as a real server does. Commands that write get READONLY, MISCONF,
// NOREPLICAS and OOM. Everything gets LOADING, MASTERDOWN, BUSY and NOAUTH. Everything but PING gets any other
// text, as from a proxy whose server is gone. What sets a connection up is never refused; for that there is
// RefuseLogins.
//
// A transaction with a refused command is discarded: its EXEC is answered with EXECABORT.
func (d *Database) Refuse(reply string, commands ...string) {
	reply = strings.TrimPrefix(strings.TrimRight(reply, "\r\n"), "-")
	d.server.refuse(reply, d.server.refusedBy(reply, commands))
}

// LoseReplies executes these commands and ends the connection in place of answering. Without names it is all commands that
// write. Further ones are served.
func (d *Database) LoseReplies(commands ...string) {
	d.proxy.DropReplies(d.server.matching(commands))
}

// PauseWrites lets commands that write and scripts wait, and serves everything else. So it is with CLIENT PAUSE …
// WRITE, or with a master that shuts down and waits for its replicas. What waits is executed after Restore.
func (d *Database) PauseWrites() { d.server.pause() }

// Slow makes everything that comes back arrive d later: a longer way. 0 ends it.
func (d *Database) Slow(delay time.Duration) { d.proxy.Delay(delay) }

// Restore ends all faults.
func (d *Database) Restore() {
	d.server.restore()
	d.proxy.DropReplies(nil)
	d.proxy.DieAfter(nil)
	d.proxy.Delay(0)
	d.proxy.Pass()
}
