// Package samples holds command lines of every replay rung, for tests that run each kind of command.
//
// A line is "given => command" or "command"; the set-up commands before the arrow have semicolons between them. In a line
// {dump:k} stands for the payload of a key, {s+1000} and {ms+1000} for times to come, and an argument after lua: has _ for
// a space.
package samples

import "strings"

// Sample is a command to run, on data that the lines of Given have made before.
type Sample struct{ Given, Line string }

// Of reads the samples of one of the lists below.
func Of(text string) []Sample {
	var samples []Sample
	for line := range strings.Lines(text) {
		given, run, found := strings.Cut(line, "=>")
		if !found {
			given, run = "", line
		}
		if run = strings.TrimSpace(run); run != "" {
			samples = append(samples, Sample{given, run})
		}
	}
	return samples
}

// Checked is a list of commands whose second run is a no-op or fails.
const Checked = `
	SETNX k v
	MSETNX a 1 b 2
	HSETNX h f v
	HSET h g 1 => HSETNX h f v
	SET k v => DEL k
	SET a 1; SET b 2 => UNLINK a b
	SET k v EX 1000 => PERSIST k
	SET a 1 => RENAMENX a b
	SET k v => MOVE k 1
	SET k v => GETDEL k
	HSET h f 1 g 2 => HDEL h f
	HSET h f 1 => HDEL h f
	SADD s a => SADD s a b
	SADD s a b => SREM s a
	SADD a m n; SADD b x => SMOVE a b m
	ZADD z 1 a 2 b => ZREM z a
	ZADD z 1 a 2 b 3 c => ZREMRANGEBYSCORE z 0 1
	ZADD z 0 a 0 b => ZREMRANGEBYLEX z [a [a
	PFADD p x y
	XADD s 1-1 f v; XADD s 2-1 f v => XDEL s 1-1
	XADD s 1-1 f v; XGROUP CREATE s g 0; XREADGROUP GROUP g c STREAMS s > => XACK s g 1-1
	XADD s 1-1 f v => XGROUP CREATE s g $
	XGROUP CREATE s g $ MKSTREAM
	XGROUP CREATE s g $ MKSTREAM => XGROUP CREATECONSUMER s g c
	XGROUP CREATE s g $ MKSTREAM => XGROUP DESTROY s g
	XADD s 1-1 f v; XGROUP CREATE s g 0; XREADGROUP GROUP g c STREAMS s > => XGROUP DELCONSUMER s g c
	SET k v NX
	SET k v EX 1000 NX
	SET k NX NX
	SET k w => SET k v XX
	SET k w EX 2000 => SET k v XX KEEPTTL
	SET k w => SET k v GET XX PX 3000000
	SET k v EX 1000 => GETEX k PERSIST
	SET k v => EXPIRE k 1000 NX
	SET k v => EXPIRE k -1 NX
	SET k v EX 2000 => EXPIRE k 1000 XX
	SET k v EX 1000 => PEXPIRE k 2000000 GT
	SET k v => EXPIREAT k {s+1000} LT
	SET k v => PEXPIREAT k {ms+1000000} LT
	SET a 1 => COPY a b
	SET a 1 EX 1000 => COPY a b DB 1
	SET a 1 => RESTORE k 0 {dump:a}
	SET a 1 => RESTORE k 1000000 {dump:a}
	RPUSH a 1 => RESTORE k {ms+1000000} {dump:a} ABSTTL
	SADD a 1 => RESTORE-ASKING k 0 {dump:a}
	ZADD z 1 a => ZADD z NX 5 b
	ZADD z 1 a => ZADD z NX CH 5 a 6 b
	RPUSH l a b c d e => LTRIM l 0 2
	RPUSH l a b c d e => LTRIM l -3 -1
	RPUSH l a b c d e => LTRIM l 0 0
	RPUSH l a b c d e => LTRIM l 3 1
	RPUSH l a b c d e => LTRIM l -1 -5
	ZADD z 1 a 2 b 3 c 4 d => ZREMRANGEBYRANK z 0 -1
	ZADD z 1 a 2 b 3 c 4 d => ZREMRANGEBYRANK z 1 -1
	ZADD z 1 a 2 b 3 c 4 d => ZREMRANGEBYRANK z 0 -3
	ZADD z 1 a 2 b 3 c 4 d => ZREMRANGEBYRANK z 1 -2
	XADD s 1-1 f v; XADD s 2-1 f v; XADD s 3-1 f v => XTRIM s MAXLEN 1
	XADD s 1-1 f v; XADD s 2-1 f v; XADD s 3-1 f v => XTRIM s MAXLEN = 2
	XADD s 1-1 f v; XADD s 2-1 f v; XADD s 3-1 f v => XTRIM s MINID 3
	EVAL lua:for_i=1,500_do_redis.call('XADD','s',i..'-1','f','v')_end 0 => XTRIM s MAXLEN ~ 10 LIMIT 0`

// LastWins is a list of commands that leave the same state unless another client wrote between.
const LastWins = `
	SET k v
	SET k NX
	SET k EX EX 1000
	SET k w EX 2000 => SET k v KEEPTTL
	SET k w => SET k v GET
	SET k v PXAT {ms+1000000}
	SET k v EXAT {s+1000}
	GETSET k v
	MSET a 1 b 2
	SETEX k 1000 v
	PSETEX k 1000000 v
	SET k abc => SETRANGE k 5 xy
	SETBIT k 7 1
	BITFIELD k SET u8 0 5 GET u8 0
	BITFIELD k OVERFLOW SAT SET u4 #1 500
	SET k abc => BITOP NOT d k
	SET a abc; SET b 12 => BITOP XOR d a b
	SET a 1; SET b 2 => RENAME a b
	SET k v => EXPIRE k 1000
	SET k v => EXPIRE k -1
	SET k v => PEXPIRE k 1000000
	SET k v => EXPIREAT k {s+1000}
	SET k v => PEXPIREAT k {ms+1000000}
	HSET h f 1 g 2
	HMSET h f 1
	RPUSH l a b => LSET l 0 x
	RPUSH l a b => LSET l -1 x
	ZADD z 1 a 2 b
	ZADD z 1 a => ZADD z XX 5 a
	ZADD z 1 a => ZADD z GT CH 5 a
	ZADD z 9 a => ZADD z LT 5 a
	ZADD z 1 NX
	GEOADD g 1 2 m
	GEOADD g 1 2 m => GEOADD g XX CH 3 4 m
	GEOADD g NX 1 2 m
	SADD a x; SADD b y; SADD d z => SUNIONSTORE d a b
	SADD a x y; SADD b y => SINTERSTORE d a b
	SADD a x y; SADD b y => SDIFFSTORE d a b
	ZADD a 1 x; ZADD b 2 x => ZUNIONSTORE d 2 a b WEIGHTS 2 3
	ZADD a 1 x; ZADD b 2 x => ZINTERSTORE d 2 a b AGGREGATE MAX
	ZADD a 1 x; ZADD b 2 y => ZDIFFSTORE d 2 a b
	ZADD a 1 x 2 y => ZRANGESTORE d a 0 0
	GEOADD g 1 2 m => GEOSEARCHSTORE d g FROMMEMBER m BYRADIUS 1 km
	RPUSH l 3 1 2 => SORT l STORE d
	RPUSH l c a b => SORT l ALPHA DESC LIMIT 0 2 STORE d
	GEOADD g 1 2 m => GEORADIUS g 1 2 3 km STORE d
	GEOADD g 1 2 m => GEORADIUSBYMEMBER g m 3 km STOREDIST d
	SET a 1; SET b 2 => COPY a b REPLACE
	SET a 1 => COPY a b DB 1 REPLACE
	SET a 1; SET k 2 => RESTORE k 0 {dump:a} REPLACE
	SET a 1 => RESTORE k 1000000 {dump:a} REPLACE
	SET k v => GETEX k EX 1000
	SET k v => GETEX k PXAT {ms+1000000}
	XADD s 5-1 f v
	XADD s 5 f v
	XADD s 1-1 f v => XADD s NOMKSTREAM 5-1 f v
	XADD s 1-1 f v; XADD s 2-1 f v => XADD s MAXLEN 2 5-1 f v
	XADD s 1-1 f v; XADD s 2-1 f v => XADD s MINID = 2-0 5-1 f *
	XADD s 1-1 f v; XGROUP CREATE s g 0; XREADGROUP GROUP g c STREAMS s > => XCLAIM s g other 0 1-1
	XADD s 1-1 f v; XGROUP CREATE s g 0; XREADGROUP GROUP g c STREAMS s > => XAUTOCLAIM s g other 0 0
	XADD s 1-1 f v; XGROUP CREATE s g 0 => XGROUP SETID s g $
	XADD s 1-1 f v => XSETID s 9-1`

// Accumulating is a list of commands that are applied twice if they are run twice.
const Accumulating = `
	INCR k
	INCRBY k 2
	INCRBYFLOAT k 1.5
	DECR k
	DECRBY k 2
	APPEND k v
	HINCRBY h f 1
	HINCRBYFLOAT h f 1
	ZINCRBY z 1 m
	ZADD z INCR 1 m
	LPUSH l x
	RPUSH l x
	RPUSH l x => LPUSHX l y
	RPUSH l x => RPUSHX l y
	RPUSH l x => LINSERT l BEFORE x y
	RPUSH l x x x => LREM l 1 x
	RPUSH l a b => LPOP l
	RPUSH l a b => RPOP l
	RPUSH l a b => LMPOP 1 l LEFT
	RPUSH a 1 2 => LMOVE a b LEFT RIGHT
	RPUSH a 1 2 => RPOPLPUSH a b
	SADD s a b c => SPOP s
	ZADD z 1 a 2 b => ZPOPMIN z
	ZADD z 1 a 2 b => ZPOPMAX z
	ZADD z 1 a 2 b => ZMPOP 1 z MIN
	EVAL lua:return_redis.call('INCR','k') 0
	BITFIELD k INCRBY u8 0 1
	SET k abc => BITOP NOT k k
	SET a abc; SET k 123 => BITOP XOR k k a
	ZADD d 1 x; ZADD a 1 x => ZUNIONSTORE d 2 a d
	ZADD z 1 a 2 b 3 c 4 d => ZRANGESTORE z z 1 -1
	GEOADD g 1 2 m => GEORADIUS g 1 2 3 km STOREDIST g
	RPUSH l 1; SET d_1 hello => SORT l GET d_* STORE d_1
	RPUSH l a b c d => LTRIM l 1 -1
	RPUSH l a b c d => LTRIM l 0 -2
	RPUSH l a b c d => LTRIM l 1 5
	ZADD z 1 a 2 b 3 c => ZREMRANGEBYRANK z 0 0
	ZADD z 1 a 2 b 3 c => ZREMRANGEBYRANK z -1 -1
	ZADD z 1 a 2 b 3 c 4 d => ZREMRANGEBYRANK z -3 1
	XADD s * f v
	XADD s 5-* f v
	XADD s MAXLEN 10 * 5-1 v
	EVAL lua:for_i=1,500_do_redis.call('XADD','s',i..'-1','f','v')_end 0 => XTRIM s MAXLEN ~ 10
	EVAL lua:for_i=1,500_do_redis.call('XADD','s',i..'-1','f','v')_end 0 => XTRIM s MAXLEN ~ 10 LIMIT 2
	XADD s 1-1 f v; XADD s 2-1 f v; XGROUP CREATE s g 0 => XREADGROUP GROUP g c COUNT 1 STREAMS s >
	RPUSH l a b => BLPOP l 1
	ZADD z 1 a 2 b => BZPOPMIN z 1
	RPUSH a 1 2 => BLMOVE a b LEFT RIGHT 1
	SET k v => SWAPDB 0 1`

// Read is a list of commands that change nothing. PFCOUNT keeps its last answer in the value: its first run changes that, and
// no element.
const Read = `
	SET k v => GET k
	SET k v EX 1000 => GETEX k
	RPUSH l 2 1 => SORT l
	RPUSH l 2 1 => SORT l BY store GET store
	SET k v => BITFIELD k GET u8 0
	BITFIELD k
	BITFIELD k GET u8 100
	GEOADD g 1 2 m => GEORADIUS g 1 2 3 km WITHDIST
	PFADD p x; PFCOUNT p => PFCOUNT p
	XADD s 1-1 f v => XREAD STREAMS s 0
	SET k v => TOUCH k
	SET k v => OBJECT ENCODING k
	SET k v => DUMP k
	SET k v => EVAL_RO lua:return_redis.call('GET','k') 0
	SET k v => MEMORY USAGE k
	SET k v => CONFIG GET maxmemory
	SET k v => CLIENT LIST
	SET k v => ACL DRYRUN default SET k w
	SET k v => SCRIPT EXISTS sha
	SET k v => INFO`
