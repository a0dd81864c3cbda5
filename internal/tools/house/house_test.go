package house

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/redishook/multidb"

// floors says on which floor a package is. A package imports only what is on a lower floor. The order of the packages of plain
// knowledge (internal/resp is below internal/replay) is spelled out in the same way.
var floors = map[string]int{
	"internal/resp": 0, "internal/callback": 0, "internal/reply": 0, "internal/chart": 0, "internal/cluster": 0, "internal/wait": 0,
	"internal/patience": 0, "internal/ownfault": 0, "internal/hint": 0,
	"window":          0,
	"internal/replay": 1, "internal/goredis": 1, "probes": 1,
	"internal/conn": 2, "internal/blocked": 2, "internal/traffic": 2, "internal/clusterclient": 2, "internal/optioncheck": 1, "internal/prober": 2,
	"internal/health": 3, "internal/oldconns": 3, "internal/sentinel": 2,
	"internal/database": 4,
	"internal/selector": 5, "internal/failure": 5,
	"internal/runner": 6, "internal/dialer": 6, "internal/monitor": 6, "internal/switchover": 6, "internal/prepare": 0,
	"internal/clusterhook": 7,
	"":                     8,
	"txwrap":               9, "pubsubwrap": 9, "console": 9, "multidbtest": 9,
	"examples": 10,
}

// aside are the packages that serve tests and the making of this module; the library imports none of them. multidbtest, which
// is for the tests of users, may import internal/testkit.
var aside = []string{"internal/testkit", "internal/tools", "internal/e2e", "internal/replay/commandtable", "internal/replay/gencommands"}

// These limits may only be lowered.
const (
	maxFileLines = 400
	maxRootLines = 3450
	maxCircle    = 4  // files of one package that need each other; none of the root do
	maxMethods   = 40 // of one type
)

func TestPackagesImportDownwards(t *testing.T) {
	all, err := List(module + "/...")
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for _, p := range all {
		if isAside(p.ImportPath) {
			continue
		}
		own, known := floorOf(p.ImportPath)
		require.True(t, known, "%s has no floor: give it one above", p.ImportPath)
		for _, path := range p.Imports {
			if !strings.HasPrefix(path, module) {
				continue
			}
			if isAside(path) {
				require.True(t, own == floors["examples"] || strings.HasSuffix(p.ImportPath, "/multidbtest"), "%s imports %s", p.ImportPath, path)
				continue
			}
			floor, known := floorOf(path)
			require.True(t, known, "%s has no floor", path)
			require.Less(t, floor, own, "%s imports %s, which is not below it", p.ImportPath, path)
		}
	}
}

func isAside(path string) bool {
	for _, prefix := range aside {
		if strings.HasPrefix(strings.TrimPrefix(path, module+"/"), prefix) {
			return true
		}
	}
	return false
}

func floorOf(path string) (int, bool) {
	path = strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	if strings.HasPrefix(path, "examples/") {
		path = "examples"
	}
	floor, known := floors[path]
	return floor, known
}

func TestFilesAreShort(t *testing.T) {
	all, err := List(module + "/...")
	require.NoError(t, err)
	root := 0
	for _, p := range all {
		lines, err := p.Lines()
		require.NoError(t, err)
		for file, n := range lines {
			require.LessOrEqual(t, n, maxFileLines, file)
			if p.ImportPath == module {
				root += n
			}
		}
	}
	require.Positive(t, root)
	require.LessOrEqual(t, root, maxRootLines)
	t.Logf("the root has %d lines", root)
}

// circles are the packages in which more than maxCircle files need each other today. These limits may only be lowered, too.
var circles = map[string]int{
	module + "/internal/conn": 11, module + "/internal/health": 8, module + "/internal/prober": 8, module + "/internal/selector": 5,
	module + "/internal/goredis": 5, module + "/pubsubwrap": 13, module + "/examples/failover": 11,
}

func TestFilesNeedEachOther(t *testing.T) {
	deps, err := List("-export", "-deps", module+"/...")
	require.NoError(t, err)
	packages := 0
	for _, p := range deps {
		if !strings.HasPrefix(p.ImportPath, module) || isAside(p.ImportPath) {
			continue
		}
		packages++
		circle, err := p.Circle(deps)
		require.NoError(t, err)
		limit := max(maxCircle, circles[p.ImportPath])
		if p.ImportPath == module {
			limit = 0
		}
		assert.LessOrEqual(t, len(circle), limit, "%s: %v", p.ImportPath, circle)
	}
	require.Positive(t, packages)
}

// larger are the types that have more methods than that today. These limits may only be lowered, too.
var larger = map[string]int{
	module + ".Hook": 40,
}

func TestNoTypeHasTooManyMethods(t *testing.T) {
	deps, err := List("-export", "-deps", module+"/...")
	require.NoError(t, err)
	types := 0
	for _, p := range deps {
		if !strings.HasPrefix(p.ImportPath, module) {
			continue
		}
		methods, err := p.Methods(deps)
		require.NoError(t, err)
		for name, n := range methods {
			types++
			limit := max(maxMethods, larger[p.ImportPath+"."+name])
			require.LessOrEqual(t, n, limit, "%s.%s", p.ImportPath, name)
		}
	}
	require.Positive(t, types)
}
