// Package house measures how the module is built: which package imports which, how long the files are, and which files of a
// package need each other in a circle. Its test holds the limits that DESIGN.md promises.
package house

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Package is one package as go list knows it.
type Package struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
}

// List runs go list for the patterns, with what else it is told. The packages' tests are left out.
func List(args ...string) ([]Package, error) {
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Export,GoFiles,Imports"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %v: %w", args, err)
	}
	var all []Package
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p Package
		if err := d.Decode(&p); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// Lines returns the number of lines of each file of a package, by its path.
func (p Package) Lines() (map[string]int, error) {
	lines := make(map[string]int)
	for _, file := range p.GoFiles {
		path := filepath.Join(p.Dir, file)
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		lines[path] = strings.Count(string(src), "\n")
	}
	return lines, nil
}

// Circle returns the largest set of files of a package each of which needs every other, by what they declare and use; nil if no
// two do. deps are the package and all that it imports, listed with -export -deps.
func (p Package) Circle(deps []Package) ([]string, error) {
	uses, err := p.uses(deps)
	if err != nil {
		return nil, err
	}
	reach := make(map[string]map[string]bool)
	for from := range uses {
		reach[from] = reachable(uses, from)
	}
	var largest []string
	for from := range reach {
		var circle []string
		for to := range reach[from] {
			if reach[to][from] {
				circle = append(circle, to)
			}
		}
		if len(circle) > len(largest) && len(circle) > 1 {
			largest = circle
		}
	}
	slices.Sort(largest)
	return largest, nil
}

// check finds the types of the package. deps are the package and all that it imports, listed with -export -deps.
func (p Package) check(deps []Package, fset *token.FileSet, info *types.Info) (*types.Package, error) {
	exports := make(map[string]string, len(deps))
	for _, dep := range deps {
		exports[dep.ImportPath] = dep.Export
	}
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	return conf.Check(p.ImportPath, fset, files, info)
}

// uses returns which files use what which files declare.
func (p Package) uses(deps []Package) (map[string]map[string]bool, error) {
	fset := token.NewFileSet()
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object), Selections: make(map[*ast.SelectorExpr]*types.Selection)}
	pkg, err := p.check(deps, fset, info)
	if err != nil {
		return nil, err
	}
	fileOf := func(pos token.Pos) string { return filepath.Base(fset.Position(pos).Filename) }
	uses := make(map[string]map[string]bool)
	for id, obj := range info.Uses {
		if obj.Pkg() != pkg || !obj.Pos().IsValid() {
			continue
		}
		from, to := fileOf(id.Pos()), fileOf(obj.Pos())
		if uses[from] == nil {
			uses[from] = make(map[string]bool)
		}
		if from != to {
			uses[from][to] = true
		}
	}
	return uses, nil
}

func reachable(uses map[string]map[string]bool, from string) map[string]bool {
	found := make(map[string]bool)
	for next := []string{from}; len(next) > 0; {
		file := next[0]
		next = next[1:]
		for to := range uses[file] {
			if !found[to] {
				found[to] = true
				next = append(next, to)
			}
		}
	}
	return found
}

// Methods returns how many methods each type that the package declares has, those of what it embeds left out. deps are those of
// Circle.
func (p Package) Methods(deps []Package) (map[string]int, error) {
	pkg, err := p.check(deps, token.NewFileSet(), nil)
	if err != nil {
		return nil, err
	}
	methods := make(map[string]int)
	for _, name := range pkg.Scope().Names() {
		if t, ok := pkg.Scope().Lookup(name).(*types.TypeName); ok {
			if named, ok := t.Type().(*types.Named); ok {
				methods[name] = named.NumMethods()
			}
		}
	}
	return methods, nil
}
