// Package multidbtest is for your own tests: what does my service do when a database dies, hangs, or refuses to write?
// [NewPair] starts two databases inside the process and a client that has the hook over them. Each database can be
// broken, and mended again, in the ways in which real ones break.
//
//	func TestIncrDuringACrash(t *testing.T) {
//		pair := multidbtest.NewPair(t)
//		pair.East.DieAfter("INCR") // it executes the next INCR and is gone before it answers
//		_, err := pair.Client.Incr(t.Context(), "orders").Result()
//		require.False(t, multidb.SafeToRetry(err), "nobody may run it again: east has executed it")
//		require.Equal(t, "1", pair.East.Get("orders"))
//	}
//
// In place of the third line comes the call of your own code, with pair.Client or with a client that your code makes of
// [Pair.Options]. The databases are miniredis servers behind the fault proxy that the tests of multidb itself use. They do
// not replicate to one another, as nothing that multidb needs does.
//
// # Virtual time
//
// Everything happens in memory, so a test may run in a bubble of testing/synctest, where minutes pass in milliseconds:
//
//	synctest.Test(t, func(t *testing.T) {
//		pair := multidbtest.NewPair(t) // the t of the bubble
//		pair.East.Kill()
//		time.Sleep(time.Minute)
//		...
//	})
//
// Code under test that dials by itself needs an address: see Config.TCP. That works outside of bubbles only.
package multidbtest
