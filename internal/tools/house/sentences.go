package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Sentence is one sentence of a comment or of a document.
type Sentence struct {
	File   string
	Line   int
	Words  []string
	Public bool // go doc shows it
}

func (s Sentence) String() string {
	return fmt.Sprintf("%s:%d: (%d words) %s", s.File, s.Line, len(s.Words), strings.Join(s.Words, " "))
}

// word is a word and the line that it stands on.
type word struct {
	text string
	line int
}

// block is a paragraph, or one item of a list.
type block []word

var (
	codeSpan = regexp.MustCompile("`[^`]+`|\\[[A-Za-z][A-Za-z0-9_./*]*\\]")
	link     = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	address  = regexp.MustCompile(`\w+://\S*[^\s.,;:)]`)
	item     = regexp.MustCompile(`^\s*([-*+]|[0-9]+[.)])\s+`)
	fence    = regexp.MustCompile("^\\s*(```|~~~)")
)

// add appends the words of a line. What is code is one word, the text of a link stays, and an address is none.
func (b *block) add(text string, line int) {
	text = link.ReplaceAllString(text, "$1")
	text = codeSpan.ReplaceAllStringFunc(text, func(code string) string { return strings.Join(strings.Fields(code), "_") })
	for _, w := range strings.Fields(text) {
		if !strings.Contains(w, "`") {
			w = address.ReplaceAllString(w, "")
		}
		*b = append(*b, word{w, line})
	}
}

// sentences splits a block at the ends of its sentences.
func (b block) sentences(file string, public bool) (all []Sentence) {
	s := Sentence{File: file, Public: public}
	for i, w := range b {
		if len(s.Words) == 0 {
			s.Line = w.line
		}
		if strings.IndexFunc(w.text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) >= 0 {
			s.Words = append(s.Words, w.text)
		}
		if len(s.Words) > 0 && (i == len(b)-1 || endsSentence(w.text, b[i+1].text)) {
			all = append(all, s)
			s.Words = nil
		}
	}
	return all
}

// endsSentence reports whether a sentence ends with a word. It goes on after an abbreviation, and after dots if the next word is in
// small letters.
func endsSentence(text, next string) bool {
	text = strings.TrimRight(text, `)"'*_”`)
	switch strings.ToLower(strings.TrimLeft(text, `("'`)) {
	case "e.g.", "i.e.", "etc.", "vs.", "cf.":
		return false
	}
	if strings.HasSuffix(text, "...") {
		return !unicode.IsLower([]rune(next)[0])
	}
	return strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") || strings.HasSuffix(text, "?")
}

// Page returns the sentences of a document in Markdown. Code, tables and headings have none; each item of a list is a block.
func Page(path string) ([]Sentence, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return prose(path, strings.Split(string(src), "\n"), 1, true, true), nil
}

// prose returns the sentences of lines of text. In Markdown, a line that is indented goes on with an item of a list, if there is one;
// in a comment, it is code.
func prose(file string, lines []string, first int, public, markdown bool) (all []Sentence) {
	var b block
	inCode, inList, blank := false, false, true
	flush := func() {
		all = append(all, b.sentences(file, public)...)
		b = nil
	}
	for i, line := range lines {
		text := strings.TrimSpace(line)
		indented := strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t") || !markdown && strings.HasPrefix(line, "  ")
		switch {
		case markdown && fence.MatchString(line):
			flush()
			inCode = !inCode
		case inCode:
		case text == "":
			flush()
			blank = true
			continue
		case item.MatchString(line) && (!indented || inList || !markdown || !blank):
			flush()
			inList = true
			b.add(item.ReplaceAllString(line, ""), first+i)
		case indented && !inList:
			flush()
		case strings.HasPrefix(text, "#"), markdown && (strings.HasPrefix(text, "|") || strings.HasPrefix(text, "<")):
			flush()
		default:
			if blank && !indented {
				inList = false
			}
			b.add(strings.TrimLeft(text, "> "), first+i)
		}
		blank = false
	}
	flush()
	return all
}

// Comments returns the sentences of the comments of a file of Go.
func Comments(path string) ([]Sentence, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(file) {
		return nil, nil
	}
	groups := slices.Clone(file.Comments) // FileExports takes some out
	public := make(map[*ast.CommentGroup]bool)
	if file.Name.Name != "main" && !strings.HasSuffix(path, "_test.go") {
		public = shown(file)
	}
	var all []Sentence
	for _, group := range groups {
		lines := linesOf(group)
		if !strings.HasPrefix(lines[0], "Output:") && !strings.HasPrefix(lines[0], "Unordered output:") { // of an example
			all = append(all, prose(path, lines, fset.Position(group.Pos()).Line, public[group], false)...)
		}
	}
	return all, nil
}

// linesOf returns the lines of a comment. What is for a tool is left empty.
func linesOf(group *ast.CommentGroup) (lines []string) {
	for _, comment := range group.List {
		text, line := strings.CutPrefix(comment.Text, "//")
		switch {
		case !line:
			text = strings.TrimSuffix(strings.TrimPrefix(text, "/*"), "*/")
		case strings.HasPrefix(text, "go:"), strings.HasPrefix(text, "nolint"):
			text = ""
		}
		for _, l := range strings.Split(text, "\n") {
			lines = append(lines, strings.TrimPrefix(l, " "))
		}
	}
	return lines
}

// Names returns the names that a file of Go declares: functions, methods, types, fields, constants and variables.
func Names(path string) (names []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	note := func(ids ...*ast.Ident) {
		for _, id := range ids {
			names = append(names, id.Name)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			note(n.Name)
		case *ast.TypeSpec:
			note(n.Name)
		case *ast.ValueSpec:
			note(n.Names...)
		case *ast.Field:
			note(n.Names...)
		}
		return true
	})
	return names, nil
}

// shown returns the comments of a file that go doc shows: those of the package and of what is exported. It takes out of the file
// what is not.
func shown(file *ast.File) map[*ast.CommentGroup]bool {
	public := make(map[*ast.CommentGroup]bool)
	ast.FileExports(file)
	note := func(n ast.Node) bool {
		if group, ok := n.(*ast.CommentGroup); ok {
			public[group] = true
		}
		_, body := n.(*ast.BlockStmt)
		return !body
	}
	if file.Doc != nil {
		public[file.Doc] = true
	}
	for _, decl := range file.Decls {
		ast.Inspect(decl, note)
	}
	return public
}

// GoFiles returns all files of Go below a directory, tests included, by their directory. It leaves out what belongs to other modules'
// test data and to Git.
func GoFiles(root string) (map[string][]string, error) {
	files := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			dir, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			files[filepath.ToSlash(dir)] = append(files[filepath.ToSlash(dir)], path)
		}
		return nil
	})
	return files, err
}
