package tests

import (
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// lockRow is a row of docs/locks.md that begins with a lock's name.
var lockRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// TestLocksAreListed: docs/locks.md has one row for every mutex of the tree outside
// tests, and none for one that is gone. A lock is called by its package's folder and
// its field, variable, or function and variable: lineage.Store.mu.
func TestLocksAreListed(t *testing.T) {
	page, err := os.ReadFile("../docs/locks.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range lockRow.FindAllSubmatch(page, -1) {
		if listed[string(m[1])] {
			t.Errorf("docs/locks.md has %s twice", m[1])
		}
		listed[string(m[1])] = true
	}
	found := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test || strings.HasPrefix(f.folder, "tests") {
			continue
		}
		for _, name := range locksOf(f.syntax) {
			lock := f.folder + "." + name
			found[lock] = true
			if !listed[lock] {
				t.Errorf("%s has the lock %s: docs/locks.md must say what it protects, and its order", f.path, lock)
			}
		}
	}
	for lock := range listed {
		if !found[lock] {
			t.Errorf("docs/locks.md has %s, and the tree does not", lock)
		}
	}
}

// locksOf are the names of a file's mutexes.
func locksOf(file *ast.File) (names []string) {
	var fields func(owner string, e ast.Expr)
	fields = func(owner string, e ast.Expr) {
		ast.Inspect(e, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				if !isMutex(field.Type) {
					for _, name := range field.Names {
						fields(owner+"."+name.Name, field.Type)
					}
					continue
				}
				if len(field.Names) == 0 {
					names = append(names, owner+".Mutex")
				}
				for _, name := range field.Names {
					names = append(names, owner+"."+name.Name)
				}
			}
			return false
		})
	}
	for _, d := range file.Decls {
		owner := ""
		if fn, ok := d.(*ast.FuncDecl); ok {
			owner = fn.Name.Name + "."
		}
		ast.Inspect(d, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, s := range decl.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if isMutex(s.Type) {
						names = append(names, owner+s.Name.Name)
					} else {
						fields(owner+s.Name.Name, s.Type)
					}
				case *ast.ValueSpec:
					if decl.Tok != token.VAR || s.Type == nil {
						continue
					}
					for _, name := range s.Names {
						if isMutex(s.Type) {
							names = append(names, owner+name.Name)
						} else {
							fields(owner+name.Name, s.Type)
						}
					}
				}
			}
			return false
		})
	}
	return names
}

// isMutex says whether a type is a mutex, a pointer to one, or an array, slice or
// map of them.
func isMutex(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.StarExpr:
		return isMutex(e.X)
	case *ast.ArrayType:
		return isMutex(e.Elt)
	case *ast.MapType:
		return isMutex(e.Value)
	case *ast.SelectorExpr:
		pkg, ok := e.X.(*ast.Ident)
		return ok && pkg.Name == "sync" && (e.Sel.Name == "Mutex" || e.Sel.Name == "RWMutex")
	}
	return false
}
