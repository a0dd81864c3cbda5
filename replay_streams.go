package multidb

import "strings"

// xaddRung: XADD key [option …] id field value …. The id decides: one that the server completes is a new entry each
// time, a full one exists after the first run and is refused.
func xaddRung(a argv) Replay {
	for i := 2; i < len(a); i++ {
		s, ok := a.text(i)
		if !ok {
			return rungNever
		}
		switch s = lower(s); s {
		case "nomkstream", "keepref", "delref", "acked":
		case "limit", "idmpauto":
			i++
		case "idmp":
			i += 2
		case "maxlen", "minid":
			i++
			switch t, ok := a.text(i); {
			case !ok:
				return rungNever
			case t == "=", t == "~":
				i++
			}
		default:
			return streamIDRung(s)
		}
	}
	return rungNever
}

func streamIDRung(id string) Replay {
	ms, seq, found := strings.Cut(id, "-")
	if id == "*" || found && digits(ms) && seq == "*" {
		return ReplayAccumulating
	}
	if digits(ms) && (!found || digits(seq)) {
		return ReplayLastWins
	}
	return rungNever
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// xtrimRung: XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT n] …. With a LIMIT each run trims some more. An approximate
// trim has one, of a hundred nodes, unless it says LIMIT 0.
func xtrimRung(a argv) Replay {
	i, approximate := 3, false
	switch s, ok := a.text(i); {
	case !ok:
		return rungNever
	case s == "=", s == "~":
		approximate = s == "~"
		i++
	}
	rest := options{"limit": 1, "keepref": 0, "delref": 0, "acked": 0}
	g, ok := rest.parse(a, i+1)
	if !ok {
		return rungNever
	}
	if at, limited := g["limit"]; limited {
		n, ok := a.number(at + 1)
		approximate = !ok || n != 0
	}
	if approximate {
		return ReplayAccumulating
	}
	return ReplayChecked
}
