package tests

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/images"
	"seuss/vmm/vmmtest"
)

// TestObjectsInPlace: what a C program sees of a shared object that it opens,
// changes, closes and opens again, and of files that it maps and then writes to
// privately, is what it sees natively.
func TestObjectsInPlace(t *testing.T) {
	t.Parallel()
	vmmtest.Require(t)
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped without gcc")
	}
	const source, object = "testdata/inplace.c", "/lib/inplace/libobject.so"
	build := func(root string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(object)), 0o755); err != nil {
			t.Fatal(err)
		}
		for out, flags := range map[string][]string{
			object: {"-shared", "-fPIC", "-DOBJECT=1"}, "/lib/inplace/libsecond.so": {"-shared", "-fPIC", "-DOBJECT=2"}, "/inplace": {"-pie"},
		} {
			args := append([]string{"-std=gnu11", "-O1", "-Wall", "-o", filepath.Join(root, out), source}, flags...)
			if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
				t.Fatalf("gcc: %v\n%s", err, out)
			}
		}
	}
	root := t.TempDir()
	build(root)
	copyLibraries(t, root, "inplace")
	im := programImage(t, root)
	for _, what := range []string{"closed", "constants", "text", "part", "fixed", "fixed-text", "advice", "twice", "reader", "replaced"} {
		t.Run(what, func(t *testing.T) {
			scratch := t.TempDir() // the program changes its files
			build(scratch)
			want := natively(t, filepath.Join(scratch, "inplace"), what, scratch)
			r := runProgram(t, im, "/inplace", what)
			if r.Signal != 0 || r.Status != 0 || r.stdout != want {
				t.Errorf("signal %d, exit status %d\n%s\nnatively\n%s\n%s%s", r.Signal, r.Status, r.stdout, want, r.stderr, r.Report)
			}
		})
	}
}

// copyLibraries copies what a program of root is linked against into root.
func copyLibraries(t *testing.T, root, program string) {
	t.Helper()
	libraries, err := exec.Command("ldd", filepath.Join(root, program)).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(libraries)) {
		if content, err := os.ReadFile(path); err == nil && filepath.IsAbs(path) {
			copyTo(t, filepath.Join(root, path), content)
		}
	}
}

// sharedObjects lists the shared objects of an image that are the host's files too.
func sharedObjects(t *testing.T, im *images.Image) []string {
	t.Helper()
	var paths []string
	err := im.Walk(func(e images.Entry) error {
		if e.Inode.LoadOff == 0 {
			return nil
		}
		r, err := im.Content(e)
		if err != nil {
			return err
		}
		content := make([]byte, r.Size())
		if _, err := r.ReadAt(content, 0); err != nil {
			return err
		}
		f, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			return err
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP && f.SectionByType(elf.SHT_SYMTAB) == nil && !strings.Contains(filepath.Base(e.Path), ".so") {
				return nil // a program
			}
		}
		if host, err := os.ReadFile(e.Path); err == nil && bytes.Equal(host, content) {
			paths = append(paths, e.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestEveryLibraryReopens opens every shared object of the Python image, closes it
// and opens it again, each in a fresh instance: its data is what the file and the
// relocations make of it, and what natively comes of its constructors.
func TestEveryLibraryReopens(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	source, err := os.ReadFile("testdata/reopen.py")
	if err != nil {
		t.Fatal(err)
	}
	deploy(t, d, "reopen", string(source), nil)
	path, err := d.Images().Find("python")
	if err != nil {
		t.Fatal(err)
	}
	im, err := images.Open(path, images.SkipDigest())
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	paths := sharedObjects(t, im)
	if len(paths) < 40 {
		t.Fatalf("the image has only these shared objects: %q", paths)
	}
	native := exec.Command("python3", append([]string{"testdata/reopen.py"}, paths...)...)
	native.Stderr = os.Stderr
	out, err := native.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(want) != len(paths) {
		t.Fatalf("natively %d lines for %d objects", len(want), len(paths))
	}
	closed, loaded := 0, 0
	for i, path := range paths {
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "reopen", Event: fmt.Appendf(nil, `{"path": %q}`, path), Timeout: patience(30 * time.Second)})
		if err != nil {
			t.Errorf("%s: %s", path, describe(err))
			continue
		}
		var got, wanted any
		if err := json.Unmarshal([]byte(want[i]), &wanted); err != nil {
			t.Fatal(err)
		}
		if got := string(r.Output); got == `"loaded"` || want[i] == `"loaded"` {
			loaded++ // of one of the two, as a library of its own modules
			continue
		}
		if r.Error != nil || json.Unmarshal(r.Output, &got) != nil || !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s: %.300s %v, natively %.300s", path, r.Output, r.Error, want[i])
		}
		if strings.Contains(want[i], "closed") {
			closed++
		}
	}
	t.Logf("%d shared objects: %d go when they are closed, %d were open", len(paths), closed, loaded)
	if closed < 20 || loaded > len(paths)/4 {
		t.Errorf("of %d objects only %d go when they are closed, and %d were open", len(paths), closed, loaded)
	}
}

// failing opens, in every invocation, libraries that are closed again because a
// symbol is missing, and then uses one of them.
const failing = `
import ctypes, os
here = os.path.dirname(os.path.abspath(__file__))
def attempt():
    try:
        ctypes.CDLL(here + "/libneeds.so", mode=os.RTLD_NOW)
    except OSError as e:
        return "undefined symbol" in str(e)
def use():
    import sqlite3
    with sqlite3.connect(":memory:") as db:
        return db.execute("select sqlite_version(), count(*), sum(x) from (select 1 as x union select 2)").fetchall()
failed = [attempt() for _ in range(3)]
def handler(event, context):
    failed.extend(attempt() for _ in range(3))
    return failed, use()
`

// TestFailedImport: an object with an unresolved symbol takes the libraries that
// were loaded for it with it, before the snapshot and after a restore; who then
// imports one of them finds it fresh.
func TestFailedImport(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped without gcc")
	}
	source, object := filepath.Join(t.TempDir(), "needs.c"), filepath.Join(t.TempDir(), "libneeds.so")
	if err := os.WriteFile(source, []byte("extern int nowhere(void), sqlite3_initialize(void); int call(void) { return nowhere() + sqlite3_initialize(); }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", object, source, "-Wl,--no-as-needed", "-l:libsqlite3.so.0", "-l:libssl.so.3").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	content, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	deploy(t, d, "failing", failing, func(s *dispatcher.FunctionSpec) { s.Files["libneeds.so"] = content })
	for range 3 {
		got := output[[2]any](t, invoke(t, d, "failing", "{}"))
		want := []any{true, true, true, true, true, true}
		if !reflect.DeepEqual(got[0], any(want)) {
			t.Errorf("failed: %v", got[0])
		}
		if rows, ok := got[1].([]any); !ok || len(rows) != 1 || !reflect.DeepEqual(rows[0].([]any)[1:], []any{2.0, 3.0}) {
			t.Errorf("sqlite says %v", got[1])
		}
	}
}

// reopened has a library open, changed and closed in its snapshot, and does it once
// more in every instance.
const reopened = `
import _ctypes, ctypes
def use():
    lib = ctypes.CDLL("libsqlite3.so.0")
    lib.sqlite3_libversion.restype = ctypes.c_char_p
    return lib, [lib.sqlite3_threadsafe(), lib.sqlite3_initialize(), lib.sqlite3_libversion().decode()]
seen = []
for _ in range(2):
    lib, said = use()
    seen.append(said)
    hold = ctypes.c_char_p.in_dll(lib, "sqlite3_temp_directory")
    seen.append(hold.value)
    hold.value = b"left behind"
    _ctypes.dlclose(lib._handle)
def handler(event, context):
    lib, said = use()
    hold = ctypes.c_char_p.in_dll(lib, "sqlite3_temp_directory")
    before, hold.value = hold.value, b"of an instance"
    _ctypes.dlclose(lib._handle)
    return seen[1::2], before.decode() if before else None, all(s == said for s in seen[::2])
`

// TestReopenedAfterRestore: a library that was closed before the snapshot is opened
// as new in every instance, and what an instance left in it is in no other.
func TestReopenedAfterRestore(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	deploy(t, d, "reopened", reopened, nil)
	for range 4 {
		if got, want := string(invoke(t, d, "reopened", "{}").Output), `[[null, null], null, true]`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
