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
// switch had been answered before the one after it, and if there is not another switch within that time. An application
// that reads slowly holds up no switch.
//
// If the databases replicate PUBLISH to one another (Active-Active, or one is a replica of the other), each message comes
// from both while both are subscribed, so twice around a planned switch: Options.MessageID compares them.
//
// When the active database dies, everything is subscribed on the next one, and the stream carries a [Switched] notice
// with the time during which nothing could be received. Messages that are missing were published in that time, or by
// publishers that moved later than the subscriber, to a database that it had left; Options.FanIn receives those as well,
// on every database at once. A message on a database that died before it could pass it on is lost in any case, as always
// with PUBLISH; it is in the gap. The other losses are in the stream in the same way: a lost connection, also one to a
// database that is being left, and a database that was in use for less time than it takes to subscribe.
//
// If the databases are clusters, a subscriber has one connection for all channels and patterns, at any master, and one for each
// slot that has shard channels, at the master of the slot: many shard channels are many connections, unless hash tags put them
// into the same slots. What is said here of order and of gaps holds for each connection, and each has notices of its own:
// Switched.ShardChannels tells them apart. When a slot gets another node (it was moved, or its master was replaced), the
// subscription goes there within milliseconds, with a notice whose From and To are the same: the old node ends it before
// the new one can take it, so there is a gap. Redis itself passes on between the nodes what was published on a channel, so across a
// switch the order of a channel's messages is kept only as far as that takes no longer than a round trip.
//
// A subscriber uses connections of its own, one per database that it is subscribed on: usually one, two around a switch.
// It needs the hook to be open. After Hook.Close it stays where it is; when that connection is lost, the stream ends with
// an Err that matches multidb.ErrClosed.
package pubsubwrap
