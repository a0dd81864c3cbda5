package replay

import (
	"strings"

	"github.com/redishook/multidb/internal/resp"
)

// xaddRung: XADD key [option …] id field value …. The id decides: one that the server completes is a new entry each
// time, a full one exists after the first run and is refused.
func xaddRung(a argv) Rung {
	for i := 2; i < len(a); i++ {
		s, ok := a.text(i)
		if !ok {
			return never
		}
		switch s = resp.Lower(s); s {
		case "nomkstream", "keepref", "delref", "acked":
		case "limit", "idmpauto":
			i++
		case "idmp":
			i += 2
		case "maxlen", "minid":
			i++
			switch t, ok := a.text(i); {
			case !ok:
				return never
			case t == "=", t == "~":
				i++
			}
		default:
			return streamIDRung(s)
		}
	}
	return never
}

func streamIDRung(id string) Rung {
	ms, seq, found := strings.Cut(id, "-")
	if id == "*" || found && digits(ms) && seq == "*" {
		return Accumulating
	}
	if digits(ms) && (!found || digits(seq)) {
		return LastWins
	}
	return never
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// xtrimRung: XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT n] …. With a LIMIT each run trims some more. An approximate
// trim has one, of a hundred nodes, unless it says LIMIT 0.
func xtrimRung(a argv) Rung {
	i, approximate := 3, false
	switch s, ok := a.text(i); {
	case !ok:
		return never
	case s == "=", s == "~":
		approximate = s == "~"
		i++
	}
	rest := options{"limit": 1, "keepref": 0, "delref": 0, "acked": 0}
	g, ok := rest.parse(a, i+1)
	if !ok {
		return never
	}
	if at, limited := g["limit"]; limited {
		n, ok := a.number(at + 1)
		approximate = !ok || n != 0
	}
	if approximate {
		return Accumulating
	}
	return Checked
}
