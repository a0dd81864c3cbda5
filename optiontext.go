package multidb

import (
	"fmt"
	"strings"
)

// Options as text, for flags (flag.TextVar), environment variables and configuration files.

// MarshalText returns what String does.
func (r Replay) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the name of a rung as String writes it: "none", "connection", "read", "checked", "last-wins",
// "accumulating", "admin", "all", or "default".
func (r *Replay) UnmarshalText(text []byte) error {
	var names []string
	for rung := ReplayNone; rung <= ReplayAll; rung++ {
		name := rung.String()
		if strings.EqualFold(name, string(text)) {
			*r = rung
			return nil
		}
		if !strings.ContainsAny(name, "(0123456789") {
			names = append(names, name)
		}
	}
	return fmt.Errorf("multidb: Replay = %q: must be one of %s", text, strings.Join(names, ", "))
}

// initials are the names of the constants.
var initials = []string{InitialOne: "one", InitialMajority: "majority", InitialAll: "all"}

// MarshalText returns "one", "majority" or "all".
func (i Initial) MarshalText() ([]byte, error) {
	if i < 0 || int(i) >= len(initials) {
		return nil, fmt.Errorf("multidb: %v is no such policy", i)
	}
	return []byte(initials[i]), nil
}

// UnmarshalText reads "one", "majority" or "all", or the name of the constant.
func (i *Initial) UnmarshalText(text []byte) error {
	for n, name := range initials {
		if strings.EqualFold(name, string(text)) || strings.EqualFold(Initial(n).String(), string(text)) {
			*i = Initial(n)
			return nil
		}
	}
	return fmt.Errorf("multidb: Initial = %q: must be one of %s", text, strings.Join(initials, ", "))
}
