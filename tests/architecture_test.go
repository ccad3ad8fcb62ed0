package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// mayImport says what each package may import of the module. The longest row that
// is the package or a folder above it counts, so that what is added to a folder of
// its own (a runtime, a platform, a front door) needs no row. A row allows the
// packages that it names and what lies below those that end in "/...". A package
// below another's folder with no row of its own may also import that folder's own
// package: a part knows its whole, never its neighbours. What a row allows is imported
// somewhere.
//
// Imports point one way: tools to dispatcher to lineage, vmm and images, and these
// to dirtytrack and guest.
var mayImport = map[string][]string{
	"guest":      {},
	"dirtytrack": {},

	"lineage":           {"dirtytrack", "guest", "images/layer", "lineage/..."},
	"lineage/changes":   {},
	"lineage/sealed":    {"lineage/sealed/sealedtest"},
	"lineage/imagefile": {"guest", "lineage/nodefile"},
	"lineage/nodefile":  {"dirtytrack", "guest"},
	"lineage/pages":     {"guest", "lineage/nodefile", "lineage/sealed"},
	"lineage/oci":       {"dirtytrack", "lineage", "lineage/imagefile"},

	"images":          {"guest", "images/direct", "images/layer", "images/internal/...", "lineage/sealed"},
	"images/layer":    {"guest", "images/internal/...", "lineage/sealed"},
	"images/direct":   {"guest", "images/internal/..."},
	"images/source":   {"guest", "images", "images/layer", "images/internal/...", "images/source/...", "lineage/sealed"},
	"images/derive":   {"guest", "images", "images/layer", "images/internal/layertest"},
	"images/runtimes": {"guest", "images", "images/source/...", "images/runtimes/..."},

	"vmm":                      {"dirtytrack", "guest", "vmm/platform", "vmm/vsock", "vmm/internal/..."},
	"vmm/internal":             {"dirtytrack", "guest", "vmm/internal/...", "vmm/platform"},
	"vmm/vsock":                {"guest"},
	"vmm/vmmtest":              {"guest", "vmm/..."},
	"vmm/platform":             {"dirtytrack", "guest", "vmm/internal/..."},
	"vmm/platform/process":     {"dirtytrack", "guest", "vmm/internal/...", "vmm/platform", "vmm/platform/process/..."},
	"vmm/platform/all":         {"vmm/platform/..."},
	"vmm/platform/conformance": {"dirtytrack", "guest", "vmm", "vmm/..."},

	"dispatcher":                       {"guest", "images", "images/...", "lineage", "lineage/...", "vmm", "vmm/...", "dispatcher/..."},
	"dispatcher/access":                {"dispatcher/functions", "lineage", "lineage/sealed"},
	"dispatcher/quota":                 {"dispatcher/access", "dispatcher/functions", "dispatcher/sched", "lineage", "lineage/sealed"},
	"dispatcher/bounds":                {"dispatcher/chain", "dispatcher/functions", "dispatcher/outbound", "dispatcher/state", "lineage"},
	"dispatcher/contracts":             {"guest", "images", "images/runtimes", "lineage", "vmm/vsock", "dispatcher/functions", "dispatcher/instance", "dispatcher/guesthttp", "dispatcher/surroundings", "dispatcher/contracts/..."},
	"dispatcher/engine":                {},
	"dispatcher/chain":                 {"dispatcher/functions"},
	"dispatcher/functionapi":           {"dispatcher/chain", "dispatcher/engine", "dispatcher/guesthttp", "dispatcher/state", "guest", "vmm/vsock"},
	"dispatcher/cluster":               {"dispatcher/cluster/...", "dispatcher/functions", "dispatcher/keyed", "lineage", "lineage/sealed"},
	"dispatcher/cluster/nodes":         {"dirtytrack", "dispatcher/cluster/...", "dispatcher/functions", "dispatcher/keyed", "lineage", "lineage/imagefile", "lineage/nodefile"}, // dirtytrack: its test
	"dispatcher/pushed":                {"dispatcher/engine", "dispatcher/keyed", "dispatcher/state"},
	"dispatcher/guesthttp":             {},
	"dispatcher/contracts/httpport":    {"lineage", "vmm/vsock", "vmm/vmmtest", "dispatcher", "dispatcher/functions", "dispatcher/instance", "dispatcher/instance/...", "dispatcher/contracts", "dispatcher/contracts/...", "dispatcher/http/listener"}, // the dispatcher and the listener: its test
	"dispatcher/regions":               {"guest", "images", "lineage"},
	"dispatcher/state/region":          {"dispatcher/state", "guest", "vmm", "vmm/platform"},
	"dispatcher/api":                   {"dispatcher/chain", "dispatcher/cluster", "dispatcher/cluster/members", "dispatcher/cluster/peers", "dispatcher/cluster/replica", "dispatcher", "dispatcher/instances", "dispatcher/instances/archive", "dispatcher/regions", "dispatcher/admission", "dispatcher/bounds", "dispatcher/functions", "dispatcher/imports", "dispatcher/instance", "dispatcher/park", "dispatcher/planner", "dispatcher/quota", "dispatcher/sched", "dispatcher/engine", "dispatcher/functionapi", "dispatcher/state", "dispatcher/state/region", "dispatcher/tiers", "dispatcher/layers", "images", "lineage", "lineage/oci"},
	"dispatcher/layers":                {"dispatcher/bundle", "images", "images/derive", "lineage/sealed"},
	"dispatcher/admission":             {"dispatcher/access", "dispatcher/chain", "dispatcher", "dispatcher/instances", "dispatcher/events", "dispatcher/functions", "dispatcher/inflight", "dispatcher/instance", "dispatcher/logs", "dispatcher/quota", "dispatcher/sched", "lineage"},
	"dispatcher/logs":                  {"dispatcher/functions"},
	"dispatcher/plan":                  {},
	"dispatcher/planner":               {"dispatcher/functions", "dispatcher/imports", "dispatcher/plan", "guest", "images/runtimes", "lineage", "lineage/sealed", "lineage/sealed/sealedtest"},
	"dispatcher/state":                 {"dispatcher/functions", "guest"},
	"dispatcher/surroundings":          {"dispatcher/functions", "images/runtimes"},
	"dispatcher/imports":               {},
	"dispatcher/tiers":                 {"images", "images/layer", "lineage"},
	"dispatcher/bundle":                {"images/runtimes", "images/runtimes/all"},
	"dispatcher/capacity":              {"dispatcher/instance", "vmm/platform"},
	"dispatcher/freelist":              {"dispatcher/instance", "lineage"},
	"dispatcher/sched":                 {},
	"dispatcher/inflight":              {"lineage"},
	"dispatcher/park":                  {},
	"dispatcher/instances":             {"dispatcher/functions", "dispatcher/inflight", "dispatcher/instance", "dispatcher/instances/archive", "dispatcher/instances/records", "lineage"},
	"dispatcher/instances/records":     {"lineage/sealed"},
	"dispatcher/instances/archive":     {"dispatcher/instances/archive/archivetest"},
	"dispatcher/keyed":                 {},
	"dispatcher/loaded":                {"dispatcher/instance", "lineage"},
	"dispatcher/tasks":                 {},
	"dispatcher/events":                {"dispatcher/functions", "dispatcher/sched", "lineage/sealed"},
	"dispatcher/functions":             {"dispatcher/bundle", "dispatcher/imports", "lineage", "lineage/changes", "lineage/sealed", "lineage/sealed/..."},
	"dispatcher/outbound":              {"guest", "vmm/vsock"},
	"dispatcher/instance":              {"dirtytrack", "guest", "images", "images/runtimes", "lineage", "lineage/...", "vmm", "vmm/...", "dispatcher/inflight", "dispatcher/outbound", "dispatcher/instance/..."},
	"dispatcher/instance/instancetest": {"images", "images/runtimes", "images/runtimes/...", "guest", "vmm", "vmm/..."},
	"dispatcher/http":                  {"dispatcher/cluster", "dispatcher/cluster/members", "dispatcher/cluster/peers", "dispatcher/cluster/placement", "images/runtimes", "dispatcher", "dispatcher/access", "dispatcher/admission", "dispatcher/api", "dispatcher/bundle", "dispatcher/contracts", "dispatcher/contracts/...", "dispatcher/events", "dispatcher/functionapi", "dispatcher/functions", "dispatcher/imports", "dispatcher/instance", "dispatcher/instances", "dispatcher/instances/archive", "dispatcher/layers", "dispatcher/logs", "dispatcher/planner", "dispatcher/sched", "dispatcher/state", "dispatcher/tiers", "dispatcher/http/...", "lineage", "lineage/oci"},
	"dispatcher/http/listener":         {},
	"dispatcher/http/servertest":       {"dispatcher", "dispatcher/...", "lineage", "lineage/oci", "vmm/platform"},

	"tools": {"dirtytrack", "guest", "images", "images/...", "lineage", "lineage/...", "vmm", "vmm/...", "dispatcher", "dispatcher/...", "tools/..."},
	"tests": {"guest", "images", "images/...", "lineage", "lineage/...", "vmm", "vmm/...", "dispatcher", "dispatcher/...", "tools/...", "tests/..."},
}

// rowOf gives a package's row of mayImport, and whether there is one.
func rowOf(folder string) (row string, ok bool) {
	for row = folder; row != "."; row = filepath.Dir(row) {
		if _, ok := mayImport[row]; ok {
			return row, true
		}
	}
	return "", false
}

// allows says whether an entry of a row is about a package.
func allows(entry, to string) bool {
	folder, below := strings.CutSuffix(entry, "/...")
	return to == entry || below && strings.HasPrefix(to, folder+"/")
}

// mayUse says whether a package of the module may import another one.
func mayUse(from, to string) bool {
	row, _ := rowOf(from)
	if from == to || from != row && to == row {
		return true
	}
	return slices.ContainsFunc(mayImport[row], func(entry string) bool { return allows(entry, to) })
}

// knowsKVM are the only packages that may import KVM's structures: what is above
// vmm's platform interface must run on other platforms too.
var knowsKVM = []string{"vmm/platform/kvm"}

type goFile struct {
	path, folder string // relative to the module's root
	test         bool
	generated    bool
	lines        int
	syntax       *ast.File
}

// parseModule reads every Go file of the module once for all tests. Folders of
// other modules (those with a go.mod) and hidden ones are left out.
var parseModule = sync.OnceValues(func() (files []goFile, err error) {
	err = filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != ".." {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || strings.HasPrefix(entry.Name(), ".") {
				return fs.SkipDir
			}
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		syntax, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", path)
		files = append(files, goFile{rel, filepath.Dir(rel), strings.HasSuffix(rel, "_test.go"),
			ast.IsGenerated(syntax), fset.File(syntax.FileStart).LineCount(), syntax})
		return err
	})
	return files, err
})

func goFiles(t *testing.T) []goFile {
	t.Helper()
	files, err := parseModule()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("only %d Go files found", len(files))
	}
	return files
}

func TestImportsPointOneWay(t *testing.T) {
	used := map[string]bool{}
	for _, f := range goFiles(t) {
		row, ok := rowOf(f.folder)
		if !ok {
			t.Errorf("%s: mayImport in tests/architecture_test.go has no row for %s", f.path, f.folder)
			continue
		}
		for _, spec := range f.syntax.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if strings.HasPrefix(path, "github.com/bobuhiro11/gokvm") && !slices.Contains(knowsKVM, f.folder) && !f.test {
				t.Errorf("%s imports %s: only %v may know KVM", f.path, path, knowsKVM)
			}
			to, ok := strings.CutPrefix(path, "seuss/")
			if !ok {
				continue
			}
			for _, entry := range mayImport[row] {
				if allows(entry, to) {
					used[row+" "+entry] = true
				}
			}
			if mayUse(f.folder, to) {
				continue
			}
			// Tests may use machines: trackers are tested on them.
			if f.test && (to == "vmm" || strings.HasPrefix(to, "vmm/")) {
				continue
			}
			t.Errorf("%s imports %s: row %s of mayImport in tests/architecture_test.go allows %v", f.path, path, row, mayImport[row])
		}
	}
	for row, entries := range mayImport {
		for _, entry := range entries {
			if !used[row+" "+entry] {
				t.Errorf("row %s of mayImport in tests/architecture_test.go allows %s, which nothing there imports: take it out", row, entry)
			}
		}
	}
}

// platformsFolder has a folder for each platform, and all, which names them.
const platformsFolder = "vmm/platform/"

// TestPlatformsAreInterfaces: what is above platforms knows none. Only package all, and
// what tests are made of, imports one; nobody asks for the type behind an interface of
// package platform.
func TestPlatformsAreInterfaces(t *testing.T) {
	forTests := []string{"vmm/platform/all", "vmm/platform/conformance", "vmm/vmmtest", "dispatcher/instance/instancetest"}
	for _, f := range goFiles(t) {
		own, inFolder := strings.CutPrefix(f.folder, platformsFolder)
		own, _, _ = strings.Cut(own, "/")
		named := map[string]bool{}
		for _, spec := range f.syntax.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			to, ok := strings.CutPrefix(path, "seuss/"+platformsFolder)
			first, _, _ := strings.Cut(to, "/")
			if !ok || first == "all" || first == "conformance" || inFolder && first == own {
				if path == "seuss/vmm/platform" {
					named["platform"] = true
				}
				continue
			}
			named[filepath.Base(path)] = true
			if !f.test && !slices.Contains(forTests, f.folder) {
				t.Errorf("%s imports %s: what a platform can do that others cannot is a method of package platform's interfaces", f.path, path)
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			var types []ast.Expr
			switch n := n.(type) {
			case *ast.TypeAssertExpr:
				types = append(types, n.Type)
			case *ast.TypeSwitchStmt:
				for _, s := range n.Body.List {
					types = append(types, s.(*ast.CaseClause).List...)
				}
			}
			for _, e := range types {
				if star, ok := e.(*ast.StarExpr); ok {
					e = star.X
				}
				if x, ok := e.(*ast.SelectorExpr); ok {
					if pkg, ok := x.X.(*ast.Ident); ok && named[pkg.Name] {
						t.Errorf("%s asks whether something is a %s.%s: make it a method of the interface", f.path, pkg.Name, x.Sel.Name)
					}
				}
			}
			return true
		})
	}
}

func TestUnsafeStaysInItsFiles(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, spec := range f.syntax.Imports {
			name := strings.TrimSuffix(strings.TrimSuffix(f.path, ".go"), "_test")
			if spec.Path.Value == `"unsafe"` && !strings.HasSuffix(name, "_unsafe") {
				t.Errorf("%s imports unsafe: it belongs into a file named *_unsafe.go", f.path)
			}
		}
	}
}

func TestOnePackageDoc(t *testing.T) {
	docs := map[string][]string{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		if _, ok := docs[f.folder]; !ok {
			docs[f.folder] = nil
		}
		if f.syntax.Doc != nil && !strings.HasPrefix(f.syntax.Doc.Text(), "Code generated") {
			docs[f.folder] = append(docs[f.folder], f.path)
		}
	}
	for folder, files := range docs {
		if len(files) != 1 {
			t.Errorf("%s has %d package docs: %v", folder, len(files), files)
		}
	}
}

// TestTopLevel: the folders show the architecture, and nothing else lies there.
func TestTopLevel(t *testing.T) {
	want := []string{"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SPECIFICATION.md",
		"dirtytrack", "dispatcher", "docs", "go.mod", "go.sum", "guest", "images", "lineage", "staticcheck.conf", "tests", "tools", "vmm"}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "bin" && !slices.Contains(want, e.Name()) {
			t.Errorf("%s does not belong to the top level", e.Name())
		}
	}
}

// TestCFilesSayWhatTheyAreFor: every C, assembly and header file of the guest
// begins with a comment.
func TestCFilesSayWhatTheyAreFor(t *testing.T) {
	err := filepath.WalkDir("../guest", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !slices.Contains([]string{".c", ".h", ".S"}, filepath.Ext(path)) {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && !strings.HasPrefix(string(b), "/*") && !strings.HasPrefix(string(b), "// link:") {
			t.Errorf("%s does not begin with a comment", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
