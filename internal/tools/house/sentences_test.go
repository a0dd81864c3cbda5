package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// top is the directory of the module.
const top = "../../.."

// maxWords is how long a sentence may be.
const maxWords = 25

// longSentences are the directories and pages that have sentences of more words today, and how many. These limits may only be lowered.
var longSentences = map[string]int{
	".": 15, "DESIGN.md": 88, "examples/failover": 6, "extra/otel": 3, "extra/prometheus": 1, "internal/blocked": 2,
	"internal/callback": 2, "internal/chart": 2, "internal/cluster": 13, "internal/clusterclient": 10,
	"internal/clusterhook": 1, "internal/conn": 27, "internal/database": 3, "internal/e2e": 74, "internal/e2e/cluster": 3,
	"internal/e2e/oracle": 2, "internal/e2e/random": 1, "internal/failure": 1, "internal/goredis": 21, "internal/health": 19,
	"internal/oldconns": 3, "internal/optioncheck": 2, "internal/patience": 2, "internal/prober": 11, "internal/replay": 15,
	"internal/reply": 2, "internal/resp": 5, "internal/runner": 25, "internal/selector": 12, "internal/switchover": 1,
	"internal/testkit": 1, "internal/testkit/clustertest": 3, "internal/testkit/cost": 1, "internal/testkit/fakeserver": 1,
	"internal/testkit/faultproxy": 11, "internal/testkit/history": 1, "internal/testkit/memnet": 2, "internal/testkit/pair": 5,
	"internal/testkit/redistest": 4, "internal/testkit/samples": 1, "internal/testkit/testmain": 2,
	"internal/testkit/virtual": 1, "internal/tools/house": 2, "internal/tools/pictures": 1, "internal/traffic": 3,
	"multidbtest": 1, "probes": 8, "pubsubwrap": 55, "txwrap": 11, "window": 18,
}

// documented are the packages of which go doc shows no sentence of more words.
var documented = []string{".", "console", "multidbtest", "probes", "pubsubwrap", "txwrap", "window"}

// Where a sentence is too long: split it, say one condition in each, and name the noun again.
func TestSentencesAreShort(t *testing.T) {
	long := make(map[string][]string)
	for _, s := range allSentences(t) {
		if len(s.Words) <= maxWords {
			continue
		}
		where := placeOf(t, s)
		long[where] = append(long[where], s.String())
		for _, dir := range documented {
			assert.False(t, s.Public && where == dir, "go doc shows a sentence of %d words: %s", len(s.Words), s)
		}
	}
	for where, found := range long {
		assert.LessOrEqual(t, len(found), longSentences[where], "%s: one of these sentences is new and has over %d words:\n%s", where, maxWords,
			strings.Join(found, "\n"))
	}
	for where, limit := range longSentences {
		if n := len(long[where]); n < limit {
			t.Logf("%s has %d long sentences: lower its limit of %d", where, n, limit)
		}
	}
}

// banned are words that meant something in this code that they do not mean elsewhere.
var banned = regexp.MustCompile(`(?i)^(bury|buried|mourn|rib|ribs|vigil|farewell|witness|orphan|condemns?|condemned|readmit|favourite|grasp|barred|` +
	`quicken|weighed|born|heir|doomed|pretend|seam|stir|lapse)$`)

// camel finds the words of a name.
var camel = regexp.MustCompile(`[A-Z]?[a-z]+|[A-Z]+`)

func TestWordsAreTheFields(t *testing.T) {
	words := 0
	for _, s := range allSentences(t) {
		for _, w := range s.Words {
			for _, part := range camel.FindAllString(w, -1) {
				words++
				assert.False(t, banned.MatchString(part), "%q is a metaphor: %s", part, s)
			}
		}
	}
	require.Positive(t, words)
	files, err := GoFiles(top)
	require.NoError(t, err)
	for _, paths := range files {
		for _, path := range paths {
			names, err := Names(path)
			require.NoError(t, err)
			for _, name := range names {
				for _, part := range camel.FindAllString(name, -1) {
					assert.False(t, banned.MatchString(part), "%s: %q in the name %s is a metaphor", path, part, name)
				}
			}
		}
	}
}

// allSentences returns those of all comments and pages.
func allSentences(t *testing.T) (all []Sentence) {
	files, err := GoFiles(top)
	require.NoError(t, err)
	for _, paths := range files {
		for _, path := range paths {
			found, err := Comments(path)
			require.NoError(t, err)
			all = append(all, found...)
		}
	}
	pages, err := filepath.Glob(top + "/*.md")
	require.NoError(t, err)
	docs, err := filepath.Glob(top + "/docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	for _, path := range append(pages, docs...) {
		found, err := Page(path)
		require.NoError(t, err)
		all = append(all, found...)
	}
	require.Greater(t, len(all), 1000)
	return all
}

// placeOf returns the directory of a file of Go, or the page.
func placeOf(t *testing.T, s Sentence) string {
	path, err := filepath.Rel(top, s.File)
	require.NoError(t, err)
	if strings.HasSuffix(path, ".go") {
		path = filepath.Dir(path)
	}
	return filepath.ToSlash(path)
}

func TestSentencesAreFound(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "page.md")
	require.NoError(t, os.WriteFile(page, []byte(`# A heading is none

One sentence with `+"`a b c`"+` and a [link to it](https://example.com/x). Another one, e.g. this,
on two lines.

- one item
- another item. It has two

| a | table |

`+"```go\nvar code int\n```"+`
> Quoted words.
`), 0o600))
	found, err := Page(page)
	require.NoError(t, err)
	require.Equal(t, []string{
		"3: One sentence with `a_b_c` and a link to it.", "3: Another one, e.g. this, on two lines.", "6: one item", "7: another item.", "7: It has two",
		"14: Quoted words.",
	}, texts(found))

	file := filepath.Join(dir, "file.go")
	require.NoError(t, os.WriteFile(file, []byte(`// Package file is shown. It is
// long.
package file

// Shown is shown:
//
//	code is left out
//
//  1. one step
//     of two lines;
//  2. another step
func Shown() {
	// not shown
	//nolint:all
}

// hidden is not.
type hidden struct{}

type S struct {
	A int // shown too
	b int // not this one
}
`), 0o600))
	found, err = Comments(file)
	require.NoError(t, err)
	require.Equal(t, []string{
		"1: Package file is shown.", "1: It is long.", "5: Shown is shown:", "9: one step of two lines;", "11: another step", "13: not shown",
		"17: hidden is not.", "21: shown too", "22: not this one",
	}, texts(found))
	var public []int
	for _, s := range found {
		if s.Public {
			public = append(public, s.Line)
		}
	}
	require.Equal(t, []int{1, 1, 5, 9, 11, 21}, public)
	names, err := Names(file)
	require.NoError(t, err)
	require.Equal(t, []string{"Shown", "hidden", "S", "A", "b"}, names)
}

func texts(all []Sentence) (texts []string) {
	for _, s := range all {
		texts = append(texts, strconv.Itoa(s.Line)+": "+strings.Join(s.Words, " "))
	}
	return texts
}
