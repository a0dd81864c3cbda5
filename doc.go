// Package multidb is a go-redis hook that keeps a *redis.Client working when a whole Redis database is lost. The
// hook knows several databases and uses one. When that one fails, it moves the client's connections to another.
//
//	hook, err := multidb.New(ctx, multidb.Options{Databases: []multidb.Database{
//		{Name: "east", Weight: 1.0, URL: "redis://east:6379"},
//		{Name: "west", Weight: 0.5, URL: "redis://west:6379"},
//	}})
//	if err != nil {
//		return err
//	}
//	defer hook.Close()
//
//	rdb := redis.NewClient(&redis.Options{Addr: "east:6379"}) // the client that you have
//	rdb.AddHook(hook)
//
// The heaviest usable database is active. The hook does not copy data from one database to another: that is what
// Active-Active databases, or replication of your own, are for.
//
//	application
//	     |  Get, Pipeline, TxPipeline, Watch, Subscribe, ...
//	*redis.Client --- Hook: process, pipeline --- outcomes ---> suspicion, failure detectors
//	     |                                                           |
//	    pool -------- Hook: dial                           health checks, circuit breakers
//	                    |                                            |
//	                    +---> the active database <--- chosen by --- selector
//
// # What follows the active database
//
// The hook decides where connections go, not which client runs a command. So everything that a *redis.Client does
// over a connection follows: single commands, Pipeline, TxPipeline, Watch, Conn, Subscribe, PSubscribe, SSubscribe
// and autopipelining. So do clones made by WithTimeout, and libraries that take a *redis.Client. Each connection
// belongs to one database for life and logs in with the credentials of that database. Its index is that of the
// database, or of the client if the database names none.
//
// A planned switch (failback, [Hook.SetActive], [Hook.SetWeight], [Hook.Remove]) returns no error to anybody. From
// one instant new requests go to the new database. Replies owed by the old one are read, and sessions (a Conn, a
// Tx) may finish there within Options.DrainTimeout. An unplanned switch (a failover) closes the connections of the
// old database at once. It decides about each command that was on them, see Replay below.
//
// # Ordering
//
// go-redis runs hooks in the order in which they are added, the first one outermost. A process hook added before this one
// (tracing, metrics) sees one logical command, however often it was attempted. One added after it sees each attempt. Both
// work; add this hook last to count commands, first to count attempts.
//
// Dial hooks added before this one see every dial, those added after it see none. The options of a database say
// how it is reached, with the Dialer in them.
//
// Add the hook right after the client is made. If the client may have connections by then (MinIdleConns), use
// [Hook.Attach], which replaces them.
//
// # Errors
//
// What a server answers is passed on as it is: redis.Nil, redis.TxFailedErr, WRONGTYPE. An error of a connection is a
// [*CommandError], which names the database and says whether the request had been sent. It unwraps to its cause, so
// errors.Is(err, io.EOF) holds as it does without the hook, and it is a net.Error where the cause is one.
// [ErrNoDatabase] says that nothing is usable; it comes at once, and nothing was sent. [SafeToRetry] tells whether a
// command was certainly not executed.
//
// # Replay
//
// A command that was certainly not executed is run again, whatever it is. It was never sent, or the server
// answered that it cannot serve now (LOADING, READONLY and their like). A command that was sent and not answered
// may have been executed. It is run again only if running it twice is harmless. [Replay] is the ladder of what
// that means, from reading to counting; Options.Replay is the highest rung that is run again, [ReplayLastWins] by
// default. So SET is run again and INCR is not: its caller gets a *CommandError with Sent set. [WithReplay]
// overrules this for one call, Options.ReplayCommands for one command.
//
// In a pipeline, commands that have been answered keep their answers; the rest is run again, in order, if all of it may
// be. MULTI ... EXEC is one unit. go-redis' own retries (MaxRetries) of commands that were sent and not answered do not
// happen on a client with this hook.
//
// # Health
//
// A failure raises a suspicion, and a few quick probes at once decide about it. So do requests that get no byte of
// an answer for Health.StallTimeout. Traffic that keeps failing while probes pass is judged by Options.Detectors.
// A verdict opens the circuit breaker of the database, and only health checks close it again. A return to a
// heavier database waits for Failback.GracePeriod, which grows if that database fails again. Packages
// [github.com/redishook/multidb/probes] and [github.com/redishook/multidb/window] hold the probes and the
// detectors.
//
// # Concurrency
//
// Every method of [Hook] is safe for concurrent use, under load and with each other. Callbacks of [Events] run one after
// the other, in order, without a lock held: they may call every method but [Hook.Close], which waits for them. Close
// stops and joins every goroutine that the hook has started; the client goes on with the database that was active last.
//
// # What is not routed
//
//   - A Ring: [Hook.Attach] returns an error. AddHook cannot return one; the hook then logs that commands run over
//     connections that it has not dialed. So it is with a ClusterClient unless all databases are clusters and it is
//     attached: AddHook alone is not enough for it.
//   - Subscriptions and connections in use from before the hook was added.
//   - A WithTimeout clone follows the active database but has no process hooks, because go-redis does not copy
//     them. What was sent is never run again for it, and its errors match as they do without the hook.
//     clone.AddHook(hook) gives it that. Package txwrap treats it like the client itself.
//   - A client with a StreamingCredentialsProvider, which would send its credentials to every database: Attach refuses it.
//     Give each [Database] a CredentialsProviderContext.
//   - With DisableIdentity and database index 0, go-redis sends nothing after the login. Then a user's SELECT
//     looks like the handshake's if it is the very first command of the process, on a Conn of a WithTimeout clone.
//     If the database names an index, that is selected in its place.
package multidb
