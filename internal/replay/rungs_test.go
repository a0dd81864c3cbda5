package replay

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/redishook/multidb/internal/resp"
)

// rungRows are command lines by the rung they must have: "" is an empty argument, … one whose text cannot be known.
var rungRows = []struct {
	rung  Rung
	lines string
}{
	{Connection, `
		PING; pInG hello; ECHO x; TIME; INFO server; DBSIZE; ROLE; LASTSAVE; COMMAND; COMMAND COUNT;
		HELLO 3 AUTH user password; SELECT 1; SUBSCRIBE channel; PUBSUB CHANNELS; CLIENT ID; client getname;
		CLIENT SETNAME app; CLIENT TRACKING ON; CONFIG GET maxmemory; CONFIG HELP; OBJECT HELP; XGROUP HELP;
		ACL WHOAMI; ACL DRYRUN user SET k v; ACL LOG; ACL LOG 10; CLUSTER INFO; CLUSTER SLOTS; SCRIPT EXISTS sha;
		FUNCTION LIST; FUNCTION STATS; SLOWLOG GET 10; LATENCY LATEST; MEMORY DOCTOR; MODULE LIST; HOTKEYS GET;
		ssubscribe a; PSUBSCRIBE get*; UNSUBSCRIBE`},
	{Read, `
		GET k; get k; MGET a b; STRLEN k; EXISTS k; TTL k; TYPE k; DUMP k; TOUCH k; RANDOMKEY; KEYS *;
		SCAN 0 MATCH a*; HGETALL h; HRANDFIELD h; LRANGE l 0 -1; LPOS l x; SMEMBERS s; SRANDMEMBER s 3;
		SINTERCARD 2 a b; ZRANGE z 0 -1 WITHSCORES; ZRANDMEMBER z; ZUNION 2 a b; PFCOUNT p; BITCOUNT k;
		BITFIELD_RO k GET u8 0; GEOSEARCH g FROMMEMBER m BYRADIUS 1 km; GEORADIUS_RO g 1 2 3 km; XRANGE s - +;
		XPENDING s g; XLEN s; XINFO STREAM s; xinfo groups s; XREAD STREAMS s 0; XREAD BLOCK 0 STREAMS s $;
		xread count 1 block 100 STREAMS s 0-0; OBJECT ENCODING k; object freq k; MEMORY USAGE k; FUNCTION DUMP;
		EVAL_RO script 0; EVALSHA_RO sha 0; FCALL_RO f 0; GETEX k; SORT l; SORT l ALPHA DESC LIMIT 0 10;
		SORT l BY w_* GET # GET store; SORT l BY store; SORT l GET STORE; SORT_RO l; GEORADIUS g 1 2 3 km;
		GEORADIUS g 1 2 3 km WITHCOORD COUNT 5 ANY ASC; GEORADIUSBYMEMBER g store 3 km WITHDIST; BITFIELD k;
		BITFIELD k GET u8 0; BITFIELD set GET u8 0 GET u4 #1; HGETEX h FIELDS 1 f; HGETEX h FIELDS 2 EX 10;
		HTTL h FIELDS 1 f; DIGEST k; ARGET a 0; AROP a 0 9 SUM`},
	{Checked, `
		SETNX k v; MSETNX a 1 b 2; HSETNX h f v; DEL k; UNLINK a b; PERSIST k; RENAMENX a b; MOVE k 1; GETDEL k;
		HDEL h f; SADD s m; SREM s m; SMOVE a b m; ZREM z m; ZREMRANGEBYSCORE z 0 1; ZREMRANGEBYLEX z [a [b;
		PFADD p x; XDEL s 1-1; XACK s g 1-1; XGROUP CREATE s g $ MKSTREAM; xgroup createconsumer s g c;
		XGROUP DESTROY s g; XGROUP DELCONSUMER s g c; SET k v NX; set k v nx; SET k v XX; SET k v EX 10 NX;
		SET k v NX GET; SET k NX XX; SET k v KEEPTTL XX; SET k v PXAT 1 nX; SET k v IFEQ old; SET k v EX NX NX;
		GETEX k PERSIST; EXPIRE k 10 NX; EXPIRE k 10 XX; PEXPIRE k 10 gt; EXPIREAT k 10 LT; PEXPIREAT k 10 xx GT;
		COPY a b; COPY a b DB 1; COPY replace replace; COPY a b DB REPLACE; RESTORE k 0 payload;
		RESTORE k 0 payload ABSTTL; RESTORE k 0 REPLACE; RESTORE k 0 payload IDLETIME REPLACE;
		RESTORE k 0 payload FREQ 5; ZADD z NX 1 m; ZADD z CH nx 1 m; LTRIM l 0 9; LTRIM l 0 0; LTRIM l 0 -1;
		LTRIM l -10 -1; LTRIM l 1 0; LTRIM l -1 -5; ZREMRANGEBYRANK z 0 -1; ZREMRANGEBYRANK z 10 -1;
		ZREMRANGEBYRANK z 0 -11; ZREMRANGEBYRANK z 5 3; XTRIM s MAXLEN 10; XTRIM s MAXLEN = 10;
		XTRIM s MINID 5-0; XTRIM s MINID ~ 5-0 LIMIT 0; XTRIM s MAXLEN 10 KEEPREF; HGETEX h PERSIST FIELDS 1 f;
		HGETDEL h FIELDS 1 f; HSETEX h FNX FIELDS 1 f v; HSETEX h EX 10 fnx FIELDS 1 f v;
		HEXPIRE h 10 NX FIELDS 1 f; HPERSIST h FIELDS 1 f; MSETEX 1 k v NX; MSETEX 2 a 1 b 2 NX EX 10;
		DELEX k IFEQ v; DELEX k IFNE v; set k v ifeq get GET; SET get v NX GET; LTRIM l -3 -5; HPEXPIRE h 10 XX FIELDS 1 f; RESTORE-ASKING k 0 payload`},
	{LastWins, `
		SET k v; SET k NX; SET k XX; SET NX XX; SET nx nx; SET k ""; SET k v EX 10; SET k v PX 10;
		SET k v EXAT 10; SET k v KEEPTTL; SET k v GET; SET k v EX NX; SET k get keepttl GET; SET k v IFNE other;
		GETSET k v; MSET a 1 b 2; MSET nx 1 xx 2; SETEX k 10 v; PSETEX k 10 v; SETRANGE k 0 v; SETBIT k 7 1;
		BITFIELD k SET u8 0 1; BITFIELD k GET u8 0 SET u8 0 1 OVERFLOW SAT; BITOP NOT d k; BITOP AND d a b;
		RENAME a b; EXPIRE k 10; EXPIRE NX XX; PEXPIRE k 10; EXPIREAT k 10; PEXPIREAT k 10; HSET h f v;
		HMSET h f v g w; LSET l 0 x; ZADD z 1 m; ZADD z XX 1 m; ZADD z GT CH 1 m; ZADD z 1 NX; ZADD z 1 INCR;
		ZADD nx 1 m; ZADD z XX 1 nx 2 incr; GEOADD g 1 2 m; GEOADD g NX 1 2 m; SUNIONSTORE d a b;
		SINTERSTORE d a; SDIFFSTORE d a b; ZUNIONSTORE d 2 a b; ZUNIONSTORE d 1 a WEIGHTS 2;
		ZINTERSTORE d 2 a b AGGREGATE MAX; ZDIFFSTORE d 2 a b; ZUNIONSTORE max 1 a AGGREGATE max;
		ZRANGESTORE d z 0 -1; GEOSEARCHSTORE d g FROMMEMBER m BYRADIUS 1 km; SORT l STORE d;
		SORT l ALPHA STORE d; SORT l LIMIT 0 store STORE d; GEORADIUS g 1 2 3 km STORE d;
		GEORADIUS g 1 2 3 km COUNT 1 STOREDIST d; GEORADIUSBYMEMBER g m 3 km storedist d; COPY a b REPLACE;
		COPY a b DB 1 replace; COPY a b REPLACE DB REPLACE; RESTORE k 0 payload REPLACE;
		RESTORE k 0 payload ABSTTL replace FREQ 3; GETEX k EX 10; GETEX k PXAT 10; GETEX persist EXAT 10;
		XADD s 5-1 f v; XADD s 5 f v; XADD s NOMKSTREAM 5-1 f v; XADD s MAXLEN 10 5-1 f v;
		XADD s MAXLEN = 10 5-1 f *; XADD s maxlen ~ 10 LIMIT 5 5-1 f v; XADD s MINID ~ 3-* 5-1 f v;
		XADD s NOMKSTREAM MINID = 3-1 LIMIT 0 5-1 * *; XADD maxlen 5-1 maxlen 5; XCLAIM s g c 0 5-1;
		XAUTOCLAIM s g c 0 0; XGROUP SETID s g $; XSETID s 5-1; HEXPIRE h 10 FIELDS 1 f;
		HEXPIRE h 10 FIELDS 1 NX; HGETEX h EX 10 FIELDS 1 f; HSETEX h FIELDS 1 FNX v;
		HSETEX h FXX KEEPTTL FIELDS 1 f v; MSETEX 1 k NX; MSETEX 1 NX v EX 10; ARSET a 0 v;
		HEXPIREAT h 10 FIELDS 1 f; HPEXPIREAT h 10 FIELDS 2 f g;
		SET get v GET; SET get GET; COPY a a REPLACE; ZADD incr 1 m; ZADD z 1 m 2 incr; XAUTOCLAIM s g c 0 0 COUNT 1 JUSTID;
		SUNIONSTORE D d; GEOADD g XX CH 1 2 m; RENAME get set`},
	{Accumulating, `
		INCR k; INCRBY k 1; INCRBYFLOAT k 1.5; DECR k; DECRBY k 1; APPEND k v; HINCRBY h f 1; HINCRBYFLOAT h f 1;
		ZINCRBY z 1 m; ZADD z INCR 1 m; ZADD z NX INCR 1 m; ZADD z incr xx 1 m; LPUSH l x; RPUSH l x; LPUSHX l x;
		RPUSHX l x; LINSERT l BEFORE x y; LREM l 0 x; LPOP l; RPOP l 2; LMPOP 1 l LEFT; LMOVE a b LEFT RIGHT;
		RPOPLPUSH a b; SPOP s; ZPOPMIN z; ZPOPMAX z 2; ZMPOP 1 z MIN; PFMERGE d a; EVAL script 0; EVALSHA sha 0;
		FCALL f 0; BITFIELD k INCRBY u8 0 1; BITFIELD k SET u8 0 1 incrby u8 0 1; BITOP NOT k k; BITOP XOR a b a;
		SUNIONSTORE d d a; ZUNIONSTORE d 2 a d; ZRANGESTORE z z 0 1;
		GEOSEARCHSTORE g g FROMMEMBER m BYRADIUS 1 km; GEORADIUS g 1 2 3 km STORE g;
		GEORADIUSBYMEMBER g m 3 km STORE d STOREDIST g; SORT l STORE l; SORT l STORE d STORE l;
		SORT l BY w_* STORE d; SORT l GET d_* STORE d_1; LTRIM l 1 -1; LTRIM l 0 -2; LTRIM l 1 5; LTRIM l -3 5;
		ZREMRANGEBYRANK z 0 0; ZREMRANGEBYRANK z -1 -1; ZREMRANGEBYRANK z -2 3; XADD s * f v; XADD s 5-* f v;
		XADD s NOMKSTREAM * 5-1 v; XADD s MAXLEN 10 * f v; XADD s MAXLEN ~ 10 LIMIT 5 * 5-1 v;
		XADD s MINID = 5-1 5-* f v; xadd s maxlen = 5 nomkstream * f v; XADD s IDMP p i * f v;
		XTRIM s MAXLEN ~ 10; XTRIM s MINID ~ 10-0 LIMIT 5; INCREX k;
		SINTERSTORE a b a; SDIFFSTORE d a d; ZADD z CH GT INCR 1 m; LMOVE a a LEFT LEFT; BITFIELD k OVERFLOW FAIL INCRBY u8 0 1;
		EVAL script 1 get; evalsha sha 0`},
	{Admin, `
		FLUSHALL; FLUSHDB ASYNC; SAVE; BGSAVE; BGREWRITEAOF; MIGRATE host 6379 k 0 100; CONFIG SET maxmemory 0;
		config resetstat; CONFIG REWRITE; SCRIPT LOAD script; SCRIPT FLUSH; SCRIPT KILL; FUNCTION LOAD code;
		FUNCTION FLUSH; CLUSTER FAILOVER; CLUSTER RESET; ACL SETUSER u; ACL LOG RESET; CLIENT KILL ID 1;
		CLIENT PAUSE 10; CLIENT UNBLOCK 5; SLOWLOG RESET; LATENCY RESET; MEMORY PURGE; MODULE LOAD path;
		HOTKEYS STOP;
		client kill 1.2.3.4:5; CLIENT KILL TYPE normal; FUNCTION RESTORE payload`},
	{never, `
		MULTI; EXEC; DISCARD; WATCH k; UNWATCH; PUBLISH c m; SPUBLISH c m; XREADGROUP GROUP g c STREAMS s >;
		XREADGROUP GROUP g c STREAMS s 0; XREADGROUP GROUP g c BLOCK 0 STREAMS s >; BLPOP l 0; BRPOP l 0;
		BRPOPLPUSH a b 0; BLMOVE a b LEFT RIGHT 0; BLMPOP 0 1 l LEFT; BZPOPMIN z 0; BZPOPMAX z 0;
		BZMPOP 0 1 z MIN; WAIT 1 0; WAITAOF 1 0 0; SWAPDB 0 1; SHUTDOWN; FAILOVER; REPLICAOF NO ONE;
		DEBUG SLEEP 0; MONITOR; CLIENT REPLY OFF; client; CLIENT; CONFIG; CLIENT SOMETHING; OBJECT SOMETHING k;
		XGROUP SOMETHING s g; CONFIG …; JSON.GET doc; JSON.SET doc $ 1; FT.SEARCH i q; TS.ADD t * 1; BF.ADD b x;
		VADD v VALUES 1 1 e; VSIM v ELE e; NOSUCHCOMMAND k; GET|SET k; config|get maxmemory; "" k; … k; SET;
		SET k; SET k v NO; SET k v EX; SET k v NX 5; SET k v …; GETEX; GETEX k EX; GETEX k NX; EXPIRE k;
		EXPIRE k 10 …; EXPIRE k 10 SOMETIMES; COPY a; COPY a b DB; COPY a b OVER; RESTORE k 0;
		RESTORE k 0 payload IDLETIME; SORT; SORT l STORE; SORT l LIMIT 0; SORT l …; GEORADIUS g 1 2 3;
		GEORADIUS g 1 2 3 km STORE; BITFIELD k SET u8 0; BITFIELD k FLIP u8 0; BITFIELD k … u8 0; BITOP NOT d;
		SUNIONSTORE d; ZUNIONSTORE d x a; ZUNIONSTORE d 3 a b; ZUNIONSTORE d 0; ZUNIONSTORE d … a b;
		ZUNIONSTORE d 9223372036854775807 a; ZADD z; ZADD z 1; ZADD z NX; ZADD z … 1 m; LTRIM l 0; LTRIM l a b;
		LTRIM l … -1; ZREMRANGEBYRANK z 0 x; XADD s; XADD s MAXLEN; XADD s MAXLEN … 5-1 f v; XADD s … f v;
		XADD s 5- f v; XADD s -5 f v; XADD s 5-x f v; XADD s x-* f v; XADD s - f v; XTRIM s MAXLEN;
		XTRIM s MAXLEN ~; XTRIM s MAXLEN …; XTRIM s MAXLEN 10 LIMIT; XTRIM s MAXLEN 10 20; HGETEX h FIELDS 2 f;
		HGETEX h EX 10; HEXPIRE h 10 NX; HEXPIRE h 10 FIELDS 0; HSETEX h FIELDS 1 f; MSETEX 2 k v; MSETEX x k v;
		MSETEX 9223372036854775807 k v;
		json.get doc; Ft.Search i q; xreadgroup group g c streams s 0; blpop get 0; wait 0 0; PFDEBUG GETREG k`},
}

// opaque is an argument whose text only its own code knows.
type opaque string

func (o opaque) MarshalBinary() ([]byte, error) { return []byte(o), nil }

// command makes a command of one line of words.
func command(line string) redis.Cmder {
	var args []any
	for _, word := range strings.Fields(line) {
		switch word {
		case `""`:
			args = append(args, "")
		case "…":
			args = append(args, opaque("*"))
		default:
			args = append(args, word)
		}
	}
	return redis.NewCmd(context.Background(), args...)
}

// commands makes several of a text with semicolons.
func commands(text string) []redis.Cmder {
	lines := linesOf(text)
	cmds := make([]redis.Cmder, len(lines))
	for i, line := range lines {
		cmds[i] = command(line)
	}
	return cmds
}

// linesOf splits a text at its semicolons.
func linesOf(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(text, ";") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestReplayRungOfCommandLines(t *testing.T) {
	var rules Rules
	seen := make(map[string]bool)
	for _, group := range rungRows {
		for _, line := range linesOf(group.lines) {
			assert.False(t, seen[line], "%s is here twice", line)
			seen[line] = true
			assert.Equal(t, group.rung, rules.Rung(command(line)), "%s", line)
		}
	}
	assert.Equal(t, never, rules.Rung(redis.NewCmd(t.Context())), "no arguments at all")
	assert.Greater(t, len(seen), 300)
}

// Each name with a rule of its own has a row, so that none of the rules is only believed.
func TestReplayEveryRuleHasARow(t *testing.T) {
	rows := make(map[string]bool)
	for _, group := range rungRows {
		for _, line := range linesOf(group.lines) {
			name, _, _ := strings.Cut(line, " ")
			rows[resp.Lower(name)] = true
		}
	}
	for name, rule := range ruleOf {
		if rule.args != nil {
			assert.True(t, rows[name], "no row for %s, whose arguments decide", name)
		}
	}
}
