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
	"testing"
)

// layers are the top folders that hold Go code, and what each may import of the
// module besides its own subfolders. Imports point one way: tools to dispatcher
// to lineage, vmm and images, and these to dirtytrack and guest.
var layers = map[string][]string{
	"guest":      {},
	"dirtytrack": {},
	"lineage":    {"dirtytrack", "guest"},
	"images":     {"guest"},
	"vmm":        {"dirtytrack", "guest"},
	"dispatcher": {"lineage", "vmm", "images", "dirtytrack", "guest"},
	"tools":      {"dispatcher", "lineage", "vmm", "images", "dirtytrack", "guest"},
	"tests":      {"tools", "dispatcher", "lineage", "vmm", "images", "dirtytrack", "guest"},
}

// knowsKVM are the only packages that may import KVM's structures: what is above
// vmm's platform interface must run on other platforms too.
var knowsKVM = []string{"vmm/kvm"}

type goFile struct {
	path, folder string // relative to the module's root
	test         bool
	syntax       *ast.File
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", path)
		files = append(files, goFile{rel, filepath.Dir(rel), strings.HasSuffix(rel, "_test.go"), syntax})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("only %d Go files found", len(files))
	}
	return files
}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range goFiles(t) {
		top, _, _ := strings.Cut(f.folder, "/")
		allowed, ok := layers[top]
		if !ok {
			t.Errorf("%s: folder %s is not in the table of layers", f.path, top)
			continue
		}
		for _, spec := range f.syntax.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if strings.HasPrefix(path, "github.com/bobuhiro11/gokvm") && !slices.Contains(knowsKVM, f.folder) && !f.test {
				t.Errorf("%s imports %s: only %v may know KVM", f.path, path, knowsKVM)
			}
			name, ok := strings.CutPrefix(path, "seuss/")
			if !ok {
				continue
			}
			to, _, _ := strings.Cut(name, "/")
			// Tests may use vmm's test helper, and trackers are tested on machines.
			if to != top && !slices.Contains(allowed, to) && !(f.test && to == "vmm") {
				t.Errorf("%s imports %s: %s may only import %v", f.path, path, top, allowed)
			}
		}
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
	want := []string{"LICENSE", "Makefile", "README.md", "RATIONALE.md", "SPECIFICATION.md", "dirtytrack", "dispatcher",
		"go.mod", "go.sum", "guest", "images", "lineage", "tests", "tools", "vmm"}
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
