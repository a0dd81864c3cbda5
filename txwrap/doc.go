// Package txwrap runs optimistic transactions (WATCH, reads, MULTI … EXEC) again. It does so when a failover has
// ended them before EXEC was sent, or when another client has changed a watched key.
//
//	err := txwrap.Watch(ctx, rdb, func(tx *txwrap.Tx) error {
//		n, err := tx.Get(ctx, "stock").Int()
//		if err != nil {
//			return err
//		}
//		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
//			pipe.Set(ctx, "stock", n-1, 0)
//			return nil
//		})
//		return err
//	}, "stock")
//
// What it promises:
//
//   - An attempt happens on one connection of one database, from WATCH to EXEC, or fails.
//   - An attempt is run again if nothing of its transaction can have been applied. WATCH or a read failed, EXEC
//     was not sent, or it was answered with "a watched key has changed". Or the database refused it because it
//     cannot serve now: READONLY, LOADING, MISCONF and the like, alone or behind the EXECABORT that comes of it.
//   - If EXEC was sent and not answered, nobody but the database knows whether it was executed. The transaction is not run
//     again then, unless [Options].RunUnansweredAgain says so; the error is an [*UnansweredError].
//
// A MULTI … EXEC that the function spells out (tx.Do, tx.Process, or such commands in tx.Pipelined, in any case) is the
// transaction just as well. Its EXEC answers with redis.Nil if a watched key has changed; return that or redis.TxFailedErr.
//
// # What else the function does
//
// It is repeated with the transaction: other writes belong into TxPipelined, other effects after [Watch] has returned. Of a
// write outside MULTI (a tx.Set before EXEC):
//
//   - If it was answered, it has been done, once in each attempt that got so far: three attempts, three times, and maybe on
//     two databases. It is not undone when EXEC fails. An INCR there counts attempts, not transactions.
//   - If it was sent and not answered, it may have been done, and there is no further attempt. That holds even if
//     the function ignores its error and goes on: EXEC is not sent on the connection that was lost with it. The
//     error of Watch carries that of the write, a *multidb.CommandError with Sent set, so multidb.SafeToRetry says
//     no. It is not an [*UnansweredError], for nothing of the transaction was executed. Only a function that
//     returns nil all the same hides it.
//   - If it was not sent, it has not been done, and the attempt is run again.
//
// What the function does through another client than tx is none of this package's knowledge, and is repeated as well.
//
// # Clusters
//
// On a *redis.ClusterClient a transaction runs on the node of its keys. So there must be a watched key, and all
// keys must be in one slot: {order:7}:items and {order:7}:total are. Otherwise the error is [ErrCrossSlot], and
// nothing was executed. If the slot has got another node meanwhile, the transaction is run again there, within
// Options.AfterSwitch.
//
// # Clients
//
// The hook is found by the client or by its connections. So those of a client embedded in another type and of a
// WithTimeout clone are found as well. For a client that follows no hook only lost races are run again. If there
// is a hook elsewhere in the process, each such call costs its server one CLIENT command.
package txwrap
