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

// Each block of Go in the README is the body of an Example, so that it compiles and its output is what it says.
func TestReadmeSnippetsAreExamples(t *testing.T) {
	examples := exampleBodies(t)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		assert.Contains(t, examples, block[1], "this block of the README is the body of no Example")
	}
}

// The table of options has a row for each field of Options, and what it says is the default is the default.
func TestReadmeOptionsTableHasTheDefaults(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([A-Za-z.]+)` \\| (.*?) \\|").FindAllStringSubmatch(section(t, "## Options"), -1)
	documented := make(map[string]string)
	for _, row := range rows {
		documented[row[1]] = strings.Trim(row[2], "`")
	}
	fields := make(map[string]string)
	defaults(reflect.ValueOf(Options{}.withDefaults()), "", fields)
	for field, want := range fields {
		got, ok := documented[field]
		delete(documented, field)
		if !assert.True(t, ok, "Options.%s is not in the README", field) || want == "" {
			continue
		}
		if d, err := time.ParseDuration(got); err == nil {
			got = d.String()
		}
		assert.Equal(t, want, got, "the default of Options.%s", field)
	}
	assert.Empty(t, documented, "these rows of the README are no fields")
	assert.Contains(t, section(t, "## Options"), fmt.Sprintf("a `Weight` (%g if 0)", defaultWeight))
}

// The table of metrics has each field of Stats, and no others.
func TestReadmeMetricsTableHasTheFieldsOfStats(t *testing.T) {
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(section(t, "## Metrics"), -1) {
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
				assert.True(t, documented[name], "Stats: %s is not in the README", name)
			}
			delete(documented, name)
		}
	}
	assert.Empty(t, documented, "these rows of the README are no fields")
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

func readme(t *testing.T) string {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(text)
}

// section returns the part of the README from a heading to the next of its level.
func section(t *testing.T, heading string) string {
	_, after, ok := strings.Cut(readme(t), "\n"+heading+"\n")
	require.True(t, ok, "the README has no %q", heading)
	text, _, _ := strings.Cut(after, "\n## ")
	return text
}

// DESIGN.md names, for each promise, the tests that fail if it breaks. A test that is renamed must not leave a promise
// with a test that does not exist.
func TestDesignNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("DESIGN.md")
	require.NoError(t, err)
	var code strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		code.Write(source)
		return err
	}))
	names := regexp.MustCompile(`\b(Test|Example|Benchmark|Fuzz)[A-Z]\w+`).FindAllString(string(text), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		assert.Contains(t, code.String(), "func "+name+"(", "DESIGN.md names %s", name)
	}
}
