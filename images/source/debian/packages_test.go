package debian

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const packageList = "a\ta:amd64\tamd64\tinstalled\t1.0\tpre (>= 2)\tlibb (>= 1) | other, v:any | libc, gone\t\n" +
	"libb\tlibb:amd64\tamd64\tinstalled\t2.0\t\ta\tvirt (= 2)\n" +
	"libb\tlibb:i386\ti386\tinstalled\t9.0\t\t\t\n" +
	"pre\tpre\tall\tinstalled\t3\t\tvirt\t\n" +
	"gone\tgone\tall\tconfig-files\t4\t\t\t\n" +
	"libc\tlibc:amd64\tamd64\tinstalled\t5\t\t\tv\n"

func noPackages() *database {
	return &database{byName: map[string]*Package{}, providers: map[string][]*Package{}}
}

func TestPackages(t *testing.T) {
	db := noPackages()
	if err := db.parse([]byte(packageList)); err != nil {
		t.Fatal(err)
	}
	if p := db.byName["libb"]; p == nil || p.version != "2.0" || p.id != "libb:amd64" || db.byName["gone"] != nil {
		t.Errorf("packages %+v", db.byName)
	}
	names := func(follow func(*Package) bool) (out []string) {
		for _, p := range db.closure("a", follow) {
			out = append(out, p.name)
		}
		return out
	}
	if got, want := names(func(*Package) bool { return true }), []string{"a", "libb", "libc", "pre"}; !reflect.DeepEqual(got, want) {
		t.Errorf("closure %v, want %v", got, want)
	}
	if got, want := names(isLibraryPackage), []string{"a", "libb", "libc"}; !reflect.DeepEqual(got, want) {
		t.Errorf("closure of libraries %v, want %v", got, want)
	}
	if got := db.closure("none", isLibraryPackage); len(got) != 0 {
		t.Errorf("closure of a missing package %v", got)
	}
	if err := noPackages().parse([]byte("a\tb\n")); err == nil || !strings.Contains(err.Error(), "2 fields") {
		t.Errorf("short line: %v", err)
	}
}

// TestCollectLinks: every link on the way is collected, and the path works in
// the image as on the host.
func TestCollectLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "usr/lib/real"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "usr/lib/real/f.1"), []byte("x"), 0o644))
	must(os.Symlink("usr/lib", filepath.Join(dir, "lib")))
	must(os.Symlink(filepath.Join(dir, "alt"), filepath.Join(dir, "usr/lib/f")))
	must(os.Symlink("lib/real/../real/f.1", filepath.Join(dir, "alt")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	c := newCollector("")
	real, err := c.Add(filepath.Join(dir, "lib/f"))
	if err != nil || real != filepath.Join(dir, "usr/lib/real/f.1") || len(c.files) != 4 {
		t.Fatalf("resolved to %s, %v, with %v", real, err, c.files)
	}
	if got := c.files[real]; got.HostPath != real {
		t.Errorf("content is that of %s", got.HostPath)
	}
	if got := c.files[filepath.Join(dir, "lib")].Symlink; got != "usr/lib" {
		t.Errorf("lib leads to %s", got)
	}
	for _, p := range []string{"loop", "none", "alt/x"} {
		if _, err := c.Add(filepath.Join(dir, p)); err == nil {
			t.Errorf("%s was collected", p)
		}
	}
	must(c.AddOptional(filepath.Join(dir, "none")))
}

func FuzzPackages(f *testing.F) {
	f.Add([]byte(packageList))
	f.Fuzz(func(t *testing.T, b []byte) {
		if db := noPackages(); db.parse(b) == nil {
			for name := range db.byName {
				db.closure(name, isLibraryPackage)
			}
		}
	})
}

// TestCollectTree: a tree is collected whole, what lies behind a link that leads nowhere
// included; the link is in it as it is, and a tree that is missing is none.
func TestCollectTree(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "lib/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"lib/a": "", "lib/b/file": "", "lib/z": "", "lib/b/gone": "../nowhere", "lib/link": "b/file"} {
		err := os.WriteFile(filepath.Join(root, name), nil, 0o644)
		if target != "" {
			err = errors.Join(os.Remove(filepath.Join(root, name)), os.Symlink(target, filepath.Join(root, name)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c := newCollector(root)
	if err := errors.Join(c.AddTree("/lib"), c.AddTree("/none")); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Paths(), []string{"/lib/a", "/lib/b/file", "/lib/b/gone", "/lib/link", "/lib/z"}; !reflect.DeepEqual(got, want) {
		t.Errorf("collected %v, want %v", got, want)
	}
}
