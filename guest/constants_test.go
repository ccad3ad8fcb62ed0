package guest_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math/bits"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"seuss/guest"
)

// treeFiles are the files of the tree with one of these endings, tests and generated
// ones excepted, by their path from the top.
func treeFiles(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, "../"))
		if d.IsDir() {
			if hidden := strings.HasPrefix(d.Name(), ".") && path != ".."; hidden || slices.Contains([]string{"tests", "testdata"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains(endings, filepath.Ext(name)) || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(content[:min(len(content), 200)]), "Code generated") {
			files[name] = string(content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var (
	cComment    = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`)
	cString     = regexp.MustCompile(`"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'`)
	cDefine     = regexp.MustCompile(`(?m)^#define\s+(\w+)\s+\(?(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\)?\s*$`)
	cEnumerator = regexp.MustCompile(`(?m)^\s*([A-Z][A-Z0-9_]+)\s*=\s*(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\s*[,}]?\s*$`)
	cNumber     = regexp.MustCompile(`\b(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\b`)
)

// virtioNumber is a number in Go that says itself which of Linux's constants it is.
var virtioNumber = regexp.MustCompile(`(?m)^\s*\w+\s+=[^/\n]*\d[^/\n]*//.*\b(?:VIRTIO|VIRTQ|VRING|VMADDR)_[A-Z]\w+.*$`)

// withoutComments keeps the lines of C or assembly as they are numbered.
func withoutComments(text string) string {
	return cComment.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
}

// contracts are the numbers of the headers, by name without ABI_.
func contracts(t *testing.T) map[string]uint64 {
	t.Helper()
	numbers := map[string]uint64{}
	for _, header := range []string{"abi/kernel.h", "abi/driver.h", "abi/image.h"} {
		text, err := os.ReadFile(header)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range cDefine.FindAllStringSubmatch(withoutComments(string(text)), -1) {
			v, err := strconv.ParseUint(m[2], 0, 64)
			if err != nil {
				t.Fatalf("%s: %s: %v", header, m[1], err)
			}
			numbers[strings.TrimPrefix(m[1], "ABI_")] = v
		}
	}
	if len(numbers) < 80 {
		t.Fatalf("the headers define only %d numbers", len(numbers))
	}
	return numbers
}

// goConstants calls fn for every constant of a file whose value is a number written out.
func goConstants(t *testing.T, name, text string, fn func(constant string, value uint64)) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			for i, id := range spec.Names {
				if i >= len(spec.Values) {
					continue
				}
				if v, ok := constant.Uint64Val(constant.ToInt(number(spec.Values[i]))); ok {
					fn(id.Name, v)
				}
			}
		}
	}
}

// number is the value of an expression of literals.
func number(e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.INT {
			return constant.MakeFromLiteral(e.Value, e.Kind, 0)
		}
	case *ast.ParenExpr:
		return number(e.X)
	case *ast.BinaryExpr:
		x, y := number(e.X), number(e.Y)
		if x.Kind() != constant.Int || y.Kind() != constant.Int {
			break
		}
		switch e.Op {
		case token.SHL:
			if n, ok := constant.Uint64Val(y); ok && n < 64 {
				return constant.Shift(x, token.SHL, uint(n))
			}
		case token.ADD, token.SUB, token.MUL, token.OR:
			return constant.BinaryOp(x, e.Op, y)
		}
	}
	return constant.MakeUnknown()
}

func plain(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "ABI_"), "_", ""))
}

// TestConstantsAreWrittenOnce: what C and Go both know is in the headers of guest/abi
// and nowhere else. Three things are looked for: a number of the headers that is
// distinctive enough to be known by its value, written out in C, assembly or Go; a
// constant of the same name and value in C and in Go; and a number in Go that is said to
// be one of Linux's virtio headers.
func TestConstantsAreWrittenOnce(t *testing.T) {
	// dirtytrack imports nothing, and counts pages of the host, which must be as large.
	own := map[string]bool{"dirtytrack pagesize": true}
	distinctive := map[uint64]string{}
	for name, v := range contracts(t) {
		if v >= 0x1000 && v>>bits.TrailingZeros64(v) > 0x10 { // round numbers are many things
			distinctive[v] = name
		}
	}
	named := map[string]string{} // C's names and values, and where
	for name, text := range treeFiles(t, ".c", ".h", ".S") {
		text = cString.ReplaceAllString(withoutComments(text), `""`)
		for _, pattern := range []*regexp.Regexp{cDefine, cEnumerator} {
			for _, m := range pattern.FindAllStringSubmatch(text, -1) {
				if v, err := strconv.ParseUint(m[2], 0, 64); err == nil {
					named[fmt.Sprint(plain(m[1]), " ", v)] = name
				}
			}
		}
		if strings.HasPrefix(name, "guest/abi/") {
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			for _, m := range cNumber.FindAllStringSubmatch(line, -1) {
				if v, err := strconv.ParseUint(m[1], 0, 64); err == nil && distinctive[v] != "" {
					t.Errorf("%s:%d writes %s, which is ABI_%s", name, i+1, m[1], distinctive[v])
				}
			}
		}
	}
	if len(named) < 100 {
		t.Fatalf("C has only %d named numbers", len(named))
	}
	for name, text := range treeFiles(t, ".go") {
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.INT {
				return true
			}
			if v, err := strconv.ParseUint(strings.ReplaceAll(lit.Value, "_", ""), 0, 64); err == nil && distinctive[v] != "" {
				t.Errorf("%s writes %s, which is ABI_%s", name, lit.Value, distinctive[v])
			}
			return true
		})
		for _, line := range virtioNumber.FindAllString(text, -1) {
			t.Errorf("%s has %q of the virtio standard: it belongs into vmm/vsock/virtio.h", name, line)
		}
		goConstants(t, name, text, func(c string, v uint64) {
			where, ok := named[fmt.Sprint(plain(c), " ", v)]
			exempt := path.Dir(name) + " " + plain(c)
			if ok && v > 1 && own[exempt] {
				delete(own, exempt)
			} else if ok && v > 1 {
				t.Errorf("%s and %s both have %s = %d: it belongs into guest/abi", name, where, c, v)
			}
		})
	}
	for what := range own {
		t.Errorf("%s is no constant of that value any more: take it out of this list", what)
	}
}

// TestDriversTakeTheProtocolsNumbers: drivers name the protocol's numbers and write
// none, and every name is one of driver.h.
func TestDriversTakeTheProtocolsNumbers(t *testing.T) {
	numbers := contracts(t)
	name := regexp.MustCompile(`\b(MSG|WANT|SO|FRAME|SEED|DRIVER|RESULT|EVENT)_[A-Z_]+\b`)
	written := regexp.MustCompile(`(?m)^\s*(?:const |let |var |local )?(?:MSG|WANT)_[A-Z_]+\s*=\s*\d`)
	drivers := 0
	for path, text := range treeFiles(t, ".py", ".js", ".rb", ".lua") {
		if !strings.Contains(path, "/driver/") || !strings.Contains(text, "MSG_READY") {
			continue
		}
		drivers++
		used := map[string]bool{}
		for _, n := range name.FindAllString(text, -1) {
			used[n] = true
		}
		for _, n := range slices.Sorted(maps.Keys(used)) {
			if _, ok := numbers[n]; !ok && (strings.HasPrefix(n, "MSG_") || strings.HasPrefix(n, "WANT_")) {
				t.Errorf("%s uses %s, which driver.h does not define", path, n)
			}
		}
		if at := written.FindString(text); at != "" {
			t.Errorf("%s has %q of its own", path, strings.TrimSpace(at))
		}
	}
	if drivers < 2 {
		t.Errorf("found %d drivers", drivers)
	}
	text := string(guest.Protocol("", "%s=%d;"))
	for _, c := range []string{"VERSION=1;", "MSG_IMPORT=1;", "MSG_WANT=20;", "WANT_RANDOM=4;", "SO_DRIVER=24149;", "RESULT_BYTES=6291456;"} {
		if !strings.Contains(text, c) {
			t.Errorf("the drivers' module lacks %s: %s", c, text)
		}
	}
}
