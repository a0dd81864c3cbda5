package replay

import "github.com/redishook/multidb/internal/resp"

var (
	setOptions = options{"nx": 0, "xx": 0, "get": 0, "keepttl": 0, "ex": 1, "px": 1, "exat": 1, "pxat": 1,
		"ifeq": 1, "ifne": 1, "ifdeq": 1, "ifdne": 1}
	getexOptions   = options{"persist": 0, "ex": 1, "px": 1, "exat": 1, "pxat": 1}
	expireOptions  = options{"nx": 0, "xx": 0, "gt": 0, "lt": 0}
	copyOptions    = options{"replace": 0, "db": 1}
	restoreOptions = options{"replace": 0, "absttl": 0, "idletime": 1, "freq": 1}
	sortOptions    = options{"asc": 0, "desc": 0, "alpha": 0, "limit": 2, "by": 1, "get": 1, "store": 1}
	geoOptions     = options{"withcoord": 0, "withdist": 0, "withhash": 0, "asc": 0, "desc": 0, "any": 0, "count": 1,
		"store": 1, "storedist": 1}
	hexpireOptions = options{"nx": 0, "xx": 0, "gt": 0, "lt": 0, "fields": countedFields}
	hgetexOptions  = options{"persist": 0, "ex": 1, "px": 1, "exat": 1, "pxat": 1, "fields": countedFields}
	hsetexOptions  = options{"fnx": 0, "fxx": 0, "keepttl": 0, "ex": 1, "px": 1, "exat": 1, "pxat": 1,
		"fields": countedPairs}
	msetexOptions = options{"nx": 0, "xx": 0, "keepttl": 0, "ex": 1, "px": 1, "exat": 1, "pxat": 1}
)

// setRung: SET key value [option …].
func setRung(a argv) Rung {
	switch g, ok := setOptions.parse(a, 3); {
	case !ok:
		return never
	// IFEQ fails the second time: the value is no longer the one compared with.
	case g.any("nx", "xx", "ifeq", "ifdeq"):
		return Checked
	default:
		return LastWins
	}
}

// getexRung: GETEX key [option …]. Without an option it is GET.
func getexRung(a argv) Rung {
	switch g, ok := getexOptions.parse(a, 2); {
	case !ok:
		return never
	case len(g) == 0:
		return Read
	case len(g) == 1 && g.any("persist"):
		return Checked
	default:
		return LastWins
	}
}

// expireRung: EXPIRE key time [condition].
func expireRung(a argv) Rung { return conditionRung(expireOptions.parse(a, 3)) }

// hexpireRung: HEXPIRE key time [condition] FIELDS n field ….
func hexpireRung(a argv) Rung {
	g, ok := hexpireOptions.parse(a, 3)
	return conditionRung(g, ok && g.any("fields"))
}

func conditionRung(g given, ok bool) Rung {
	switch {
	case !ok:
		return never
	case g.any("nx", "xx", "gt", "lt"):
		return Checked
	default:
		return LastWins
	}
}

// copyRung: COPY source destination [option …].
func copyRung(a argv) Rung { return replaceRung(copyOptions.parse(a, 3)) }

// restoreRung: RESTORE key ttl payload [option …].
func restoreRung(a argv) Rung { return replaceRung(restoreOptions.parse(a, 4)) }

func replaceRung(g given, ok bool) Rung {
	switch {
	case !ok:
		return never
	case g.any("replace"):
		return LastWins
	default:
		return Checked
	}
}

// bitfieldRung: BITFIELD key [GET type offset | SET type offset value | INCRBY type offset n | OVERFLOW how] ….
func bitfieldRung(a argv) Rung {
	operands := options{"get": 2, "set": 3, "incrby": 3, "overflow": 1}
	switch g, ok := operands.parse(a, 2); {
	case !ok:
		return never
	case g.any("incrby"):
		return Accumulating
	case g.any("set"):
		return LastWins
	default:
		return Read
	}
}

// sortRung: SORT key [option …]. The patterns of BY and GET name more keys to read, and the destination may be one.
func sortRung(a argv) Rung {
	switch g, ok := sortOptions.parse(a, 2); {
	case !ok:
		return never
	case g.any("store") && g.any("by", "get"):
		return Accumulating
	default:
		return storeRung(a, g, "store")
	}
}

// georadiusRung: GEORADIUS key lon lat radius unit [option …], GEORADIUSBYMEMBER key member radius unit [option …].
func georadiusRung(from int) func(argv) Rung {
	return func(a argv) Rung {
		g, ok := geoOptions.parse(a, from)
		if !ok {
			return never
		}
		return max(storeRung(a, g, "store"), storeRung(a, g, "storedist"))
	}
}

// storeRung is the rung of a command that reads the key at 1 and stores what it found when it has the option.
func storeRung(a argv, g given, option string) Rung {
	i, ok := g[option]
	if !ok {
		return Read
	}
	return intoRung(a, i+1, 1, 2)
}

// intoRung is the rung of a command that computes the destination from sources. One that is computed from itself
// (BITOP NOT k k, ZUNIONSTORE k 2 k other) is computed from its own result by a second run.
func intoRung(a argv, destination, from, to int) Rung {
	if from >= to || to > len(a) {
		return never
	}
	for i := from; i < to; i++ {
		if a.same(destination, i) {
			return Accumulating
		}
	}
	return LastWins
}

// storeFromRung: ZRANGESTORE destination source …, GEOSEARCHSTORE destination source ….
func storeFromRung(a argv) Rung { return intoRung(a, 1, 2, 3) }

// storeKeysRung: SUNIONSTORE destination key ….
func storeKeysRung(a argv) Rung { return intoRung(a, 1, 2, len(a)) }

// storeNumkeysRung: ZUNIONSTORE destination numkeys key … [option …].
func storeNumkeysRung(a argv) Rung {
	n, ok := a.number(2)
	if !ok || n < 1 || n > int64(len(a)) {
		return never
	}
	return intoRung(a, 1, 3, 3+int(n))
}

// bitopRung: BITOP operation destination key ….
func bitopRung(a argv) Rung { return intoRung(a, 2, 3, len(a)) }

// msetexRung: MSETEX numkeys key value … [option …].
func msetexRung(a argv) Rung {
	n, ok := a.number(1)
	if !ok || n < 1 || n > int64(len(a)) {
		return never
	}
	switch g, ok := msetexOptions.parse(a, 2+2*int(n)); {
	case !ok:
		return never
	case g.any("nx"):
		return Checked
	default:
		return LastWins
	}
}

// hgetexRung: HGETEX key [option] FIELDS n field ….
func hgetexRung(a argv) Rung {
	switch g, ok := hgetexOptions.parse(a, 2); {
	case !ok || !g.any("fields"):
		return never
	case len(g) == 1:
		return Read
	case len(g) == 2 && g.any("persist"):
		return Checked
	default:
		return LastWins
	}
}

// hsetexRung: HSETEX key [option …] FIELDS n field value ….
func hsetexRung(a argv) Rung {
	switch g, ok := hsetexOptions.parse(a, 2); {
	case !ok || !g.any("fields"):
		return never
	case g.any("fnx"):
		return Checked
	default:
		return LastWins
	}
}

// zaddRung: ZADD key [NX|XX|GT|LT|CH|INCR] … score member …. The options end at the first argument that is none.
func zaddRung(a argv) Rung {
	nx, incr := false, false
	i := 2
scan:
	for ; i < len(a); i++ {
		s, ok := a.text(i)
		if !ok {
			return never
		}
		switch resp.Lower(s) {
		case "nx":
			nx = true
		case "incr":
			incr = true
		case "xx", "gt", "lt", "ch":
		default:
			break scan
		}
	}
	switch {
	case i+2 > len(a):
		return never
	case incr:
		return Accumulating
	case nx:
		return Checked
	default:
		return LastWins
	}
}

// ltrimRung: LTRIM key start stop. To keep the first n or the last n is done once and for all; to cut off the first n
// or the last n cuts again.
func ltrimRung(a argv) Rung {
	start, ok := a.number(2)
	stop, ok2 := a.number(3)
	switch {
	case !ok || !ok2 || len(a) != 4:
		return never
	case start == 0 && stop >= 0, start <= 0 && stop == -1: // the first n, the last n
		return Checked
	case start > stop && (start < 0) == (stop < 0): // nothing is kept
		return Checked
	default:
		return Accumulating
	}
}

// zremrangebyrankRung: ZREMRANGEBYRANK key start stop. What it leaves is a number of elements only when one end is
// counted from the front and the other from the back.
func zremrangebyrankRung(a argv) Rung {
	start, ok := a.number(2)
	stop, ok2 := a.number(3)
	switch {
	case !ok || !ok2 || len(a) != 4:
		return never
	case start >= 0 && stop < 0:
		return Checked
	case start > stop && (start < 0) == (stop < 0): // nothing is removed
		return Checked
	default:
		return Accumulating
	}
}

// subcommandRung: CONFIG GET, OBJECT ENCODING, ….
func subcommandRung(a argv) Rung {
	name, ok := a.text(0)
	sub, ok2 := a.text(1)
	if !ok || !ok2 {
		return never
	}
	name, sub = resp.Lower(name), resp.Lower(sub)
	if sub == "help" {
		return Connection
	}
	full := name + "|" + sub
	if name == "acl" && sub == "log" {
		return aclLogRung(a)
	}
	if rung, ok := subcommandRungOf[full]; ok {
		return rung
	}
	if serverCommands[full]&flagRead != 0 {
		return Read
	}
	return never
}

// aclLogRung: ACL LOG [count | RESET].
func aclLogRung(a argv) Rung {
	if _, count := a.number(2); count || len(a) == 2 {
		return Connection
	}
	return Admin
}
