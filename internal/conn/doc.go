// Package conn is the connections of one database: each belongs to its database for life.
//
//   - set.go, dial.go: the registry, and how a connection gets into it;
//   - conn.go, poolcheck.go: the gate that each request passes, and how go-redis' pool learns that a connection is of no use;
//   - handshake.go, login.go, rewrite.go, client.go: each connection logs in as its database wants;
//   - failure.go: what a failure is called: whether the request was sent, and whether go-redis may see the cause;
//   - ledger.go, subscriptions.go, blocking.go, class.go: what a connection owes;
//   - latency.go: how long the first byte of a reply takes.
package conn
