package console

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// count writes 1234567 as 1,234,567.
func count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// join writes names as "a", "a and b are" and so on.
func join(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " are"
}

// ago writes how long ago something was.
func ago(d time.Duration) string {
	if d < 2*time.Second {
		return "just now"
	}
	return short(d.Round(time.Second)) + " ago"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
