// Package pubsubwrap subscribes to Redis channels, patterns and shard channels on whichever database a multidb hook has
// made active, and says what a failover has cost.
//
//	sub, err := pubsubwrap.Subscribe(ctx, rdb, "news")
//	...
//	for e := range sub.Channel() {
//		switch {
//		case e.Message != nil:
//			fmt.Println(e.Message.Payload)
//		case e.Switched != nil && e.Switched.Gap > 0:
//			reload() // something may have been missed
//		case e.Err != nil:
//			log.Print(e.Err)
//		}
//	}
//
// A planned switch loses nothing and doubles nothing: it waits, for 200 ms at most, until the subscriber has been
// confirmed on the new database, and the old one is left only after Options.Linger, when everything it had sent has been
// delivered. What one publisher has sent over one channel arrives in the order it was sent in, if its PUBLISH before the
// switch had been answered before the one after it, and if there is not another switch within that time.
//
// When the active database dies, everything is subscribed on the next one, and the stream carries a [Switched] notice
// with the time during which nothing could be received. Messages that are missing were published in that time, by
// publishers that had moved before the subscriber or not yet; Options.FanIn receives those as well, on every database at
// once. A message on a database that died before it could pass it on is lost in any case, as always with PUBLISH.
//
// A subscriber uses connections of its own, one per database that it is subscribed on: usually one, two around a switch.
// It needs the hook to be open; after Hook.Close it stays where it is.
package pubsubwrap
