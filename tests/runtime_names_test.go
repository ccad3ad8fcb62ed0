package tests

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runtimeName is the name of a language runtime. What a lineage calls a node is none.
var runtimeName = regexp.MustCompile(`(?i)c?python|nodejs|node\.js|\blua[0-9.]*\b|ruby`)

// namesRuntimes are the folders, and the files that begin so, where runtimes are named:
// their own, what the benchmarks measure, and tests, helpers of tests included.
var namesRuntimes = []string{"images/runtimes/", "tests/", "tools/load/", "tools/seussctl/bench/", "tools/seussctl/samples/", "tools/seussctl/benchcmd/"}

// TestHouseRuntimesAreNamed: what is added to images/runtimes needs no
// word elsewhere, so no other file names a runtime, but for the help texts of commands
// and the list of imports.
func TestHouseRuntimesAreNamed(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || f.generated || strings.HasSuffix(f.folder, "test") || slices.ContainsFunc(namesRuntimes, func(p string) bool { return strings.HasPrefix(f.path, p) }) {
			continue
		}
		report := func(where, text string) {
			if m := runtimeName.FindString(text); m != "" {
				t.Errorf("%s: %s names %s: it belongs below images/runtimes", f.path, where, m)
			}
		}
		for _, group := range f.syntax.Comments {
			report("a comment", group.Text())
		}
		help := map[ast.Node]bool{}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if help[n] {
				return false
			}
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && slices.Contains([]string{"Usage", "Description", "Examples"}, key.Name) {
					help[n.Value] = true
				}
			case *ast.ImportSpec:
				return false
			case *ast.Ident:
				report("an identifier", n.Name)
			case *ast.BasicLit:
				report("a string", n.Value)
			}
			return true
		})
	}
}
