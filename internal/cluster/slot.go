package cluster

import (
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Which slot a command is for.

// NoSlot is the slot of a command without a key, or whose key is not known.
const NoSlot = -1

// IsLoopback reports whether a host is one that go-redis takes for this machine (isLoopback).
func IsLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".docker.internal")
}

// SlotOf returns the slot of a command by its first key, or NoSlot. It serves to say where a command belongs that a node
// could not take, and which commands of a pipeline must keep their order. A wrong slot costs a redirect by the server.
func SlotOf(cmd redis.Cmder) int {
	args := cmd.Args()
	at := firstKey(strings.ToLower(cmd.Name()), args)
	if at <= 0 || at >= len(args) {
		return NoSlot
	}
	switch key := args[at].(type) {
	case string:
		return KeySlot(key)
	case []byte:
		return KeySlot(string(key))
	}
	return NoSlot
}

// keyless are commands whose first argument is no key.
var keyless = map[string]bool{
	"acl": true, "asking": true, "auth": true, "bgrewriteaof": true, "bgsave": true, "client": true, "cluster": true,
	"command": true, "config": true, "dbsize": true, "debug": true, "discard": true, "echo": true, "exec": true,
	"failover": true, "flushall": true, "flushdb": true, "function": true, "hello": true, "info": true, "keys": true,
	"lastsave": true, "latency": true, "lolwut": true, "module": true, "monitor": true, "multi": true, "ping": true,
	"psubscribe": true, "publish": true, "pubsub": true, "punsubscribe": true, "quit": true, "randomkey": true,
	"readonly": true, "readwrite": true, "replicaof": true, "reset": true, "role": true, "save": true, "scan": true,
	"script": true, "select": true, "shutdown": true, "slaveof": true, "slowlog": true, "subscribe": true,
	"swapdb": true, "time": true, "unsubscribe": true, "unwatch": true, "wait": true, "waitaof": true,
}

// firstKey returns the index of the first key among the arguments, or 0 if there is none.
func firstKey(name string, args []any) int {
	switch name {
	case "eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro":
		if len(args) > 2 && isZero(args[2]) {
			return 0
		}
		return 3
	case "xread":
		return after(args, 1, "streams")
	case "xreadgroup":
		return after(args, 4, "streams")
	case "object", "xinfo", "xgroup", "bitop", "memory", "lmpop", "zmpop", "sintercard", "zintercard", "zunion", "zinter", "zdiff":
		return 2
	case "blmpop", "bzmpop":
		return 3
	case "migrate":
		if len(args) > 3 && isText(args[3], "") {
			return after(args, 6, "keys")
		}
		return 3
	}
	if keyless[name] {
		return 0
	}
	return 1
}

// after returns the index behind a word among the arguments, or 0.
func after(args []any, from int, word string) int {
	for i := from; i < len(args); i++ {
		if isText(args[i], word) {
			return i + 1
		}
	}
	return 0
}

func isText(arg any, text string) bool {
	switch s := arg.(type) {
	case string:
		return strings.EqualFold(s, text)
	case []byte:
		return strings.EqualFold(string(s), text)
	}
	return false
}

func isZero(arg any) bool {
	switch n := arg.(type) {
	case int:
		return n == 0
	case int64:
		return n == 0
	}
	return isText(arg, "0")
}

// KeySlot is the slot of a key: CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384.
func KeySlot(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if length := strings.IndexByte(key[open+1:], '}'); length > 0 {
			key = key[open+1 : open+1+length]
		}
	}
	var crc uint16
	for i := range len(key) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return int(crc) % Slots
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
