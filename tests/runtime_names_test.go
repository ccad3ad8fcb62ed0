package tests

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// runtimeWord finds a runtime's name in an identifier or a string. A lineage node is
// none, so "node" counts as a string of its own or before an ending only.
var (
	runtimeWord = regexp.MustCompile(`(?i)python|nodejs|node\.js|lua5|\blua\b|ruby|CPython`)
	nodeString  = regexp.MustCompile(`^"node"$`)
)

// runtimesNamed are files outside images/runtimes that still name a runtime, and
// how often. It can only shrink.
var runtimesNamed = map[string]int{
	"dispatcher/dispatcher.go":                  1,
	"dispatcher/functions.go":                   1,
	"dispatcher/httpapi/lambda_config.go":       1,
	"dispatcher/httpapi/server.go":              1,
	"dispatcher/instance/instancetest/state.go": 3,
	"dispatcher/instance/loading.go":            1,
	"guest/embed.go":                            3,
	"images/host.go":                            19,
	"images/python.go":                          42,
	"tools/seussctl/app/env.go":                 2,
	"tools/seussctl/app/image.go":               19,
	"tools/seussctl/app/image_build.go":         3,
	"tools/seussctl/app/serve.go":               2,
	"tools/seussctl/doctor/doctor.go":           4,
	"tools/seussctl/doctor/software.go":         14,
}

// TestRuntimesAreNamedInTheirFolders: what a runtime is, is known in its folder. Elsewhere no
// code names one, but for samples, benches, the demo, and the help texts of commands.
func TestRuntimesAreNamedInTheirFolders(t *testing.T) {
	found := map[string]int{}
	for _, f := range goFiles(t) {
		if f.test || f.generated || strings.HasPrefix(f.path, "tests/") || strings.HasPrefix(f.path, "images/runtimes/") ||
			strings.HasPrefix(f.path, "tools/seussctl/samples/") || strings.HasPrefix(f.path, "tools/seussctl/bench/") ||
			strings.HasPrefix(f.path, "tools/load/") || strings.HasPrefix(f.path, "tools/seussctl/app/bench_") ||
			f.path == "tools/seussctl/app/demo.go" {
			continue
		}
		commands := strings.HasPrefix(f.path, "tools/seussctl/app/")
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr: // usage, description, examples of a command; Usage of a flag
				key, ok := n.Key.(*ast.Ident)
				if commands && ok && (strings.EqualFold(key.Name, "usage") || key.Name == "description" || key.Name == "examples") {
					return false
				}
			case *ast.ImportSpec:
				return false
			case *ast.Ident:
				if runtimeWord.MatchString(n.Name) {
					found[f.path]++
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING && (runtimeWord.MatchString(n.Value) || nodeString.MatchString(n.Value) && !strings.HasPrefix(f.path, "lineage/")) {
					found[f.path]++
				}
			}
			return true
		})
	}
	for path, n := range found {
		if n > runtimesNamed[path] {
			t.Errorf("%s names runtimes %d times, and at most %d are allowed: what a runtime is, images/runtimes knows", path, n, runtimesNamed[path])
		}
	}
	for path := range runtimesNamed {
		if found[path] == 0 {
			t.Errorf("%s names no runtime: take its row out of runtimesNamed in tests/runtime_names_test.go", path)
		}
	}
}
