package functions

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"seuss/dispatcher/imports"
	"seuss/lineage"
)

// TestImports: what code has imported is kept with the function as long as a deployment of
// it has that code, for each owner and function apart.
func TestImports(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	code := []byte("import numpy")
	want, err := imports.Decode([]byte(`{"distributions": [{"name": "numpy", "version": "1"}], "imports": [["numpy", 0, 0, 5, 9, 7], ["json", -1, 0, 1, 1, 0]], "left_out": 3}`))
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, code []byte) Function {
		t.Helper()
		f, err := s.Put(Function{Name: name, Handler: "main.f"}, code)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	known := func(f Function) bool {
		t.Helper()
		r, err := s.Imports(&f)
		summary, errOf := s.Imported(&f)
		if err != nil || errOf != nil || (r == nil) != (summary == nil) {
			t.Fatalf("%s: %v, %v", f.Name, err, errOf)
		}
		if r != nil && (!reflect.DeepEqual(r, want) || !reflect.DeepEqual(*summary, want.Summary)) {
			t.Errorf("%s: %+v, want %+v", f.Name, r, want)
		}
		return r != nil
	}
	f, version, other, twin := put("f", code), put("f:1", code), put("someone/f", code), put("twin", code)
	if known(f) {
		t.Error("known before it was told")
	}
	for _, of := range []*Function{&f, &other} {
		if err := s.SaveImports(of, want); err != nil {
			t.Fatal(err)
		}
	}
	if !known(f) || !known(version) || !known(other) || known(twin) {
		t.Errorf("known: %v, %v, %v, of another function %v", known(f), known(version), known(other), known(twin))
	}
	// The version still has the code that the function no longer has.
	if now := put("f", []byte("v2")); known(now) || !known(version) {
		t.Error("of the new code it is known, or of the version it is not")
	}
	s.Close()
	s = open(t, dir)
	if !known(version) || !known(other) {
		t.Error("not known after the store was opened anew")
	}
	if err := s.Remove("f:1"); err != nil {
		t.Fatal(err)
	}
	if known(version) || !known(other) {
		t.Error("a removed version's is kept, or another owner's is not")
	}
	if err := s.SaveImports(&other, nil); err != nil || known(other) {
		t.Errorf("kept although nothing is known any more: %v", err)
	}
	// Of a deployment that never came to be.
	if err := s.SaveImports(&Function{Name: "gone", CodeDigest: f.CodeDigest}, want); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	if left, _ := filepath.Glob(filepath.Join(dir, importsDir, "*.*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	// Damage is named, and a name is never a path.
	if err := s.SaveImports(&twin, want); err != nil {
		t.Fatal(err)
	}
	path := s.importsPath("twin", twin.CodeDigest)
	for text, word := range map[string]string{"{": "EOF", `{"format": 2}`: "format 2, this release reads 1", strings.Repeat(" ", maxImportsBytes+1): "too large"} {
		if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Imports(&twin); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.20q: %v, want %q", text, err, word)
		}
	}
	if err := s.SaveImports(&Function{Name: "../x", CodeDigest: f.CodeDigest}, want); !errors.Is(err, lineage.ErrInvalid) {
		t.Errorf("a path: %v", err)
	}
}

// TestGoldenImports: a file of this release is read by later ones.
func TestGoldenImports(t *testing.T) {
	b, err := os.ReadFile("testdata/imports-1.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	r, err := decodeImports(b, true)
	if err != nil || r.Distributions[0].Pin() != "numpy==1.24.2" || r.Distributions[0].MS != 61.5 || len(r.Modules) != 2 || r.Modules[1].Pages != 90 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAddRun: what runs have imported is kept beside what the load has, a bounded number of
// them, and nothing of a function that is gone or has other code.
func TestAddRun(t *testing.T) {
	s := open(t, t.TempDir())
	f, err := s.Put(Function{Name: "f", Handler: "main.f"}, []byte("import numpy"))
	if err != nil {
		t.Fatal(err)
	}
	record := func(module string) *imports.Record {
		t.Helper()
		r, err := imports.Decode([]byte(`{"distributions": [{"name": "d", "version": "1"}], "imports": [["` + module + `", 0, 0, 5, 9, 7]]}`))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	add := func(f Function, run *imports.Record) {
		t.Helper()
		if err := s.AddRun(&f, run); err != nil {
			t.Fatal(err)
		}
	}
	known := func(runs, loaded int) {
		t.Helper()
		r, err := s.Imports(&f)
		summary, errOf := s.Imported(&f)
		if err != nil || errOf != nil || r == nil || r.Later == nil || r.Later.Runs != runs || r.ModuleCount != loaded || len(r.Modules) != loaded || len(r.LaterModules) != r.Later.ModuleCount || !reflect.DeepEqual(*summary, r.Summary) {
			t.Errorf("%+v, %v, %v; want %d runs, %d modules of the load", r, err, errOf, runs, loaded)
		} else if r.Distributions == nil || r.Modules == nil {
			t.Errorf("%+v: what is shown as null is a list", r)
		}
	}
	add(f, record("late"))
	known(1, 0)
	if err := s.SaveImports(&f, record("early")); err != nil {
		t.Fatal(err)
	}
	known(1, 1)
	for range 2 * imports.MaxRuns {
		add(f, nil)
	}
	known(imports.MaxRuns, 1)
	if err := s.SaveImports(&f, nil); err != nil { // another release's driver tells nothing
		t.Fatal(err)
	}
	known(imports.MaxRuns, 0)
	old := f
	if f, err = s.Put(Function{Name: "f", Handler: "main.f"}, []byte("import scipy")); err != nil {
		t.Fatal(err)
	}
	add(old, record("late"))
	add(Function{Name: "gone", CodeDigest: f.CodeDigest}, record("late"))
	for _, of := range []*Function{&old, &f, {Name: "gone", CodeDigest: f.CodeDigest}} {
		if r, err := s.Imports(of); r != nil || err != nil {
			t.Errorf("%s: %+v, %v", of.Name, r, err)
		}
	}
}
