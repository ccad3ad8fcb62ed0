package tests

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The size of a room: beyond it a type is several types, a package several
// packages, a file several files.
const (
	mostMethods = 40
	mostFiles   = 30
	mostLines   = 500
)

// overfull are the rooms that are still too large, with their size now. It can
// only shrink: what grows fails, and so does a row that is not needed any more.
var overfull = map[string]int{}

// checkSize reports what is larger than the most that is allowed, or than its
// row of overfull says. It returns whether that row was needed.
func checkSize(t *testing.T, what string, size, most int) bool {
	t.Helper()
	limit, excepted := overfull[what]
	if size > max(most, limit) {
		t.Errorf("%s: %d, and at most %d are allowed", what, size, max(most, limit))
	}
	return excepted && size > most
}

// TestHouseSizes holds the sizes of receivers, packages and files.
func TestHouseSizes(t *testing.T) {
	needed := map[string]bool{}
	methods := map[string]int{}
	packages := map[string]int{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		packages[f.folder]++
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[f.folder+"."+typeName(fn.Recv.List[0].Type)]++
			}
		}
	}
	for name, n := range methods {
		needed["methods of "+name] = checkSize(t, "methods of "+name, n, mostMethods)
	}
	for name, n := range packages {
		needed["files of "+name] = checkSize(t, "files of "+name, n, mostFiles)
	}
	for name, content := range sources(t) {
		if slices.Contains([]string{".go", ".c", ".h", ".S", ".sh", ".py", ".js", ".lua", ".rb"}, filepath.Ext(name)) && !isGenerated(content) {
			what := "lines of " + name
			needed[what] = checkSize(t, what, bytes.Count(content, []byte("\n")), mostLines)
		}
	}
	for what := range overfull {
		if !needed[what] {
			t.Errorf("%s is small enough, or gone: take its row out of overfull in tests/house_test.go", what)
		}
	}
}

// TestHouseNewcomerNamesRooms: docs/newcomer.md says what each room of the module is for,
// by its name or as one of a kind (images/runtimes/NAME).
func TestHouseNewcomerNamesRooms(t *testing.T) {
	page, err := os.ReadFile("../docs/newcomer.md")
	if err != nil {
		t.Fatal(err)
	}
	rooms := map[string]bool{}
	for _, f := range goFiles(t) {
		if top, _, _ := strings.Cut(f.folder, "/"); !f.test && top != "tests" && top != "tools" && !strings.Contains(f.folder, "/internal/") {
			rooms[f.folder] = true
		}
	}
	for room := range rooms {
		if name := path.Base(room); strings.HasSuffix(name, "test") || name == "testguest" {
			continue // for tests only
		}
		kind := path.Dir(room) + "/NAME"
		if !slices.ContainsFunc([]string{"`" + room + "`", "`" + room + "/", "`" + kind + "`"}, func(as string) bool { return bytes.Contains(page, []byte(as)) }) {
			t.Errorf("docs/newcomer.md does not say what %s is for", room)
		}
	}
	if len(rooms) < 40 {
		t.Errorf("only %d rooms were found", len(rooms))
	}
}

// typeName is the name of a receiver's type, without pointer and parameters.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return fmt.Sprintf("%T", e)
}

// sources are the content of every file that git keeps, or would, by its path.
func sources(t *testing.T) map[string][]byte {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Skipf("git does not list the tree: %v", err)
	}
	files := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	return files
}

var generatedLine = regexp.MustCompile(`(?m)^(//|/\*|#) Code generated .* DO NOT EDIT\.`)

func isGenerated(content []byte) bool { return generatedLine.Match(content) }

// writtenTwice are the constants that still stand in several places, by name. It
// can only shrink.
var writtenTwice = map[string]bool{}

var (
	cDefine = regexp.MustCompile(`(?m)^#define\s+([A-Z][A-Z0-9_]{3,})\s+\(?(0x[0-9a-fA-F]+|[0-9]{2,})[uUlL]*\)?\s*(?:/[*/].*)?$`)
	// The registers that KVM and processors number: 0xc0000080 and its neighbours,
	// KVM's own, and those of the SYSENTER, PAT and feature control family.
	msrNumber  = regexp.MustCompile(`^0x(c00[01]0[0-9a-f]{3}|4b564d0[0-9a-f]|0*17[4-6]|0*277|0*3b|0*da0)$`)
	pageNumber = regexp.MustCompile(`^(4096|0x1000|1 ?<< ?12)$`)
)

// TestHouseNothingTwice: a constant has one place. What is looked for in Go are
// declarations of the same name and value in two packages, a second declaration of
// the page size, and numbers of machine registers in two files; in C the same
// #define in two files of which neither is a contract (guest/abi).
func TestHouseNothingTwice(t *testing.T) {
	type place struct{ name, value string }
	declared := map[place][]string{}
	registers := map[string][]string{}
	for _, f := range goFiles(t) {
		if f.test || f.generated || strings.HasPrefix(f.path, "tests/") {
			continue
		}
		for _, d := range f.syntax.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				// A value of a type of its own is no other type's.
				if named, ok := spec.Type.(*ast.Ident); ok && ast.IsExported(named.Name) {
					continue
				}
				for i, name := range spec.Names {
					if i >= len(spec.Values) {
						continue
					}
					value := literal(spec.Values[i])
					lower := strings.ToLower(name.Name)
					switch {
					case value == "":
					case strings.Contains(lower, "pagesize") && pageNumber.MatchString(value):
						declared[place{"page size", value}] = append(declared[place{"page size", value}], f.folder)
					case len(name.Name) > 3 && len(value) > 2:
						declared[place{lower, value}] = append(declared[place{lower, value}], f.folder)
					}
				}
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.INT {
				if v := strings.ToLower(strings.ReplaceAll(lit.Value, "_", "")); msrNumber.MatchString(v) {
					registers[v] = append(registers[v], f.path)
				}
			}
			return true
		})
	}
	defines := map[string][]string{}
	for name, content := range sources(t) {
		if ext := filepath.Ext(name); strings.HasPrefix(name, "tests/") || strings.Contains(name, "/tests/") || ext != ".c" && ext != ".h" && ext != ".S" {
			continue
		}
		for _, m := range cDefine.FindAllSubmatch(content, -1) {
			key := fmt.Sprintf("#define %s %s", m[1], m[2])
			defines[key] = append(defines[key], name)
		}
	}
	found := map[string][]string{}
	for p, folders := range declared {
		slices.Sort(folders)
		if folders = slices.Compact(folders); len(folders) > 1 {
			found[p.name+" = "+p.value] = folders
		}
	}
	for _, m := range []map[string][]string{registers, defines} {
		for what, files := range m {
			slices.Sort(files)
			if files = slices.Compact(files); len(files) > 1 {
				found[what] = files
			}
		}
	}
	for what, places := range found {
		if !writtenTwice[what] {
			t.Errorf("%s is written in %v: keep one", what, places)
		}
	}
	for what := range writtenTwice {
		if found[what] == nil {
			t.Errorf("%s is written once: take its row out of writtenTwice in tests/house_test.go", what)
		}
	}
}

// literal is a constant expression as text where it is a number, a string or a
// shift or product of numbers, else nothing.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Value
	case *ast.BinaryExpr:
		x, y := literal(e.X), literal(e.Y)
		if x == "" || y == "" {
			return ""
		}
		return x + " " + e.Op.String() + " " + y
	}
	return ""
}
