// Package pubsubwrap subscribes to Redis channels, patterns and shard channels on the database that a multidb hook
// has made active. It says what a failover has cost.
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
// A planned switch loses nothing and doubles nothing. It waits, for 200 ms at most, until the subscriber has been
// confirmed on the new database. The old one is left only after Options.Linger, when everything it had sent has
// been delivered. What one publisher has sent over one channel arrives in the order it was sent in. There are two
// conditions: its PUBLISH before the switch was answered before the one after it, and no other switch came within
// that time. An application that reads slowly holds up no switch.
//
// The databases may replicate PUBLISH to one another (Active-Active, or one is a replica of the other). Then each
// message comes from both while both are subscribed, so twice around a planned switch: Options.MessageID compares
// them.
//
// When the active database dies, everything is subscribed on the next one. The stream carries a [Switched] notice
// with the time during which nothing could be received. Messages that are missing were published in that time. Or
// publishers that moved later than the subscriber have sent them to a database that it had left. Options.FanIn
// receives those as well, on every database at once. A message on a database that died before it could pass it on
// is lost in any case, as always with PUBLISH. It is in the gap. The other losses are in the stream in the same
// way. One is a lost connection, also one to a database that is being left. Another is a database that was in use
// for less time than it takes to subscribe.
//
// If the databases are clusters, a subscriber has one connection for all channels and patterns, at any master. It
// has another one for each slot that has shard channels, at the master of the slot. Many shard channels are many
// connections, unless hash tags put them into the same slots. What is said here of order and of gaps holds for
// each connection, and each has notices of its own: Switched.ShardChannels tells them apart. A slot gets another
// node when it is moved, or when its master is replaced. The subscription goes there within milliseconds, with a
// notice whose From and To are the same. There is a gap, because the old node ends the subscription before the new
// one can take it. Redis itself passes on between the nodes what was published on a channel. So across a switch
// the order of a channel's messages is kept only if that takes no longer than a round trip.
//
// A subscriber uses connections of its own, one per database that it is subscribed on: usually one, two around a switch.
// It needs the hook to be open. After Hook.Close it stays where it is; when that connection is lost, the stream ends with
// an Err that matches multidb.ErrClosed.
package pubsubwrap
