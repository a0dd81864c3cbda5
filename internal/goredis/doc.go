// Package goredis holds everything that leans on the inside of go-redis. Look here first when go-redis changes.
//
//   - noretry.go: how go-redis treats the errors of a connection, and how to keep it from sending a request twice;
//   - selftest.go: whether the go-redis of this process still behaves so;
//   - reply.go: what the errors of go-redis mean;
//   - command.go: which commands are go-redis' own;
//   - dial.go: how go-redis dials, and how its pool treats a dial that failed.
package goredis
