package multidb

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each block of Go in the README and in docs/ is the body of an Example, or stands in the program of examples/quickstart, which
// its test runs.
func TestSnippetsAreTested(t *testing.T) {
	tested := exampleBodies(t)
	program, err := os.ReadFile("examples/quickstart/main.go")
	require.NoError(t, err)
	quickstart := regexp.MustCompile(`(?m)^\t`).ReplaceAllString(string(program), "")
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	found := 0
	for _, page := range append(pages, "README.md") {
		for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(text(t, page), -1) {
			found++
			_, isExample := tested[block[1]]
			assert.True(t, isExample || strings.Contains(quickstart, "\n"+block[1]), "%s: nothing runs this block:\n%s", page, block[1])
		}
	}
	require.Positive(t, found)
}

// The README is read before anything else, so it stays short. A number in it stands in docs/measured.md as well.
func TestReadmeIsShortAndItsTableIsMeasured(t *testing.T) {
	readme := text(t, "README.md")
	assert.LessOrEqual(t, strings.Count(readme, "\n"), 150)
	measured := text(t, "docs/measured.md")
	rows := regexp.MustCompile(`(?m)^\|.*\d+ × .*$`).FindAllString(readme, -1)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		assert.Contains(t, measured, row+"\n", "the README's row is not the one that was measured")
	}
}

// Every link of the README and of docs/ leads to a file that is there, and every page is linked from the README.
func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, "README.md", "DESIGN.md") {
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(text(t, page), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(page), link[1]))
			assert.NoError(t, err, "%s links to %s", page, link[1])
		}
		if filepath.Dir(page) == "docs" {
			assert.Contains(t, text(t, "README.md"), "]("+page+")", "nobody finds this page")
		}
	}
}

// Every command of the README is one that there is: a target of make, or a program of this repository.
func TestCommandsOfTheReadmeExist(t *testing.T) {
	readme := text(t, "README.md")
	targets := regexp.MustCompile("`make ([a-z]+)").FindAllStringSubmatch(readme, -1)
	require.NotEmpty(t, targets)
	for _, target := range targets {
		assert.Contains(t, text(t, "Makefile"), "\n"+target[1]+":", "make %s", target[1])
	}
	for _, program := range regexp.MustCompile(`go run \./(\S+)`).FindAllStringSubmatch(readme, -1) {
		assert.DirExists(t, program[1])
	}
}

// The table of options has a row for each field of Options, and what it says is the default is the default.
func TestOptionsPageHasTheDefaults(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([A-Za-z.]+)` \\| (.*?) \\|").FindAllStringSubmatch(text(t, "docs/options.md"), -1)
	documented := make(map[string]string)
	for _, row := range rows {
		documented[row[1]] = strings.Trim(row[2], "`")
	}
	fields := make(map[string]string)
	defaults(reflect.ValueOf(Options{}.withDefaults()), "", fields)
	for field, want := range fields {
		got, ok := documented[field]
		delete(documented, field)
		if !assert.True(t, ok, "Options.%s is not on the page", field) || want == "" {
			continue
		}
		if d, err := time.ParseDuration(got); err == nil {
			got = d.String()
		}
		assert.Equal(t, want, got, "the default of Options.%s", field)
	}
	assert.Empty(t, documented, "these rows are no fields")
	assert.Contains(t, text(t, "docs/options.md"), fmt.Sprintf("a `Weight` (%g if 0)", defaultWeight))
}

// The table of metrics has each field of Stats, and no others.
func TestStatisticsPageHasTheFieldsOfStats(t *testing.T) {
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(text(t, "docs/statistics.md"), -1) {
		prefix := ""
		for _, name := range regexp.MustCompile("`([A-Za-z.\\[\\]]+)`").FindAllStringSubmatch(row[1], -1) {
			field := strings.TrimPrefix(name[1], "Databases[].")
			if field != name[1] {
				prefix = "Databases[]."
			}
			documented[prefix+field] = true
		}
	}
	for prefix, of := range map[string]reflect.Type{"": reflect.TypeFor[Stats](), "Databases[].": reflect.TypeFor[DatabaseStats]()} {
		for i := range of.NumField() {
			name := prefix + of.Field(i).Name
			if name != "Databases" && name != "Databases[].Name" {
				assert.True(t, documented[name], "Stats: %s is not on the page", name)
			}
			delete(documented, name)
		}
	}
	assert.Empty(t, documented, "these rows are no fields")
}

// defaults collects the fields of v with their values as text; "" for those that have no plain one.
func defaults(v reflect.Value, prefix string, into map[string]string) {
	for i := range v.NumField() {
		name, field := prefix+v.Type().Field(i).Name, v.Field(i)
		switch x := field.Interface().(type) {
		case Health, Breaker, Failback, Retry:
			defaults(field, name+".", into)
		case time.Duration:
			into[name] = x.String()
		case float64:
			into[name] = strconv.FormatFloat(x, 'g', -1, 64)
		case int, bool:
			into[name] = fmt.Sprint(x)
		case Initial:
			into[name] = x.String()
		case Strategy:
			into[name] = reflect.TypeOf(x).Name()
		default:
			into[name] = ""
		}
	}
}

// exampleBodies returns the bodies of the Examples as they stand in the file, without their indentation.
func exampleBodies(t *testing.T) map[string]string {
	const file = "example_test.go"
	source, err := os.ReadFile(file)
	require.NoError(t, err)
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, source, parser.ParseComments)
	require.NoError(t, err)
	bodies := make(map[string]string)
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(f.Name.Name, "Example") {
			continue
		}
		body := string(source[fset.Position(f.Body.Lbrace).Offset+2 : fset.Position(f.Body.Rbrace).Offset])
		bodies[regexp.MustCompile(`(?m)^\t`).ReplaceAllString(body, "")] = f.Name.Name
	}
	return bodies
}

// text returns a page.
func text(t *testing.T, page string) string {
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	return string(b)
}

// DESIGN.md names, for each promise, the tests that fail if it breaks. A test that is renamed must not leave a promise
// with a test that does not exist.
func TestDesignNamesTestsThatExist(t *testing.T) {
	var code strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		code.Write(source)
		return err
	}))
	names := regexp.MustCompile(`\b(Test|Example|Benchmark|Fuzz)[A-Z]\w+`).FindAllString(text(t, "DESIGN.md"), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		assert.Contains(t, code.String(), "func "+name+"(", "DESIGN.md names %s", name)
	}
}
