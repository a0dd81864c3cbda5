// Package txwrap runs optimistic transactions (WATCH, reads, MULTI … EXEC) again when a failover has ended them before
// EXEC was sent, or when another client has changed a watched key.
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
//   - An attempt is run again if nothing of its transaction can have been applied: WATCH or a read failed, or EXEC was not
//     sent, or it was answered with "a watched key has changed".
//   - If EXEC was sent and not answered, nobody but the database knows whether it was executed. The transaction is not run
//     again then, unless [Options].RunUnansweredAgain says so; the error is an [*UnansweredError].
//
// What the function does besides its transaction is repeated with it: other writes belong into TxPipelined, other effects
// after [Watch] has returned. A write outside MULTI that was sent and not answered ends the attempts.
//
// A client without the hook of multidb works as well. There, only lost races are run again.
package txwrap
