package functions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"

	"seuss/lineage"
	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
)

func TestFunctions(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	code := []byte("def main(a): return a")
	f, err := s.Put(Function{Name: "hello-1_A", Handler: "main", Lazy: true}, code)
	if err != nil {
		t.Fatal(err)
	}
	if f.CodeDigest != CodeDigest(code) || f.Deployed.IsZero() {
		t.Errorf("deployed as %+v", f)
	}
	if _, err := s.Put(Function{Name: "twin", Handler: "main"}, code); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get("hello-1_A")
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("got %+v, %v, want %+v", got, err, f)
	}
	if b, err := s.Code(got); err != nil || !bytes.Equal(b, code) {
		t.Errorf("code %q, %v", b, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Name != "hello-1_A" || list[1].Name != "twin" {
		t.Errorf("list %+v, %v", list, err)
	}
	// Shared code stays until its last user is gone.
	if err := s.Remove("twin"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Code(f); err != nil {
		t.Error(err)
	}
	// A new version replaces the old one, whose code goes.
	v2, err := s.Put(Function{Name: f.Name, Handler: "main2"}, []byte("v2"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Code(f); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("code of the old version: %v", err)
	}
	s.Close()
	stray := CodeDigest([]byte("stray"))
	if err := os.WriteFile(s.codePath("f", stray), []byte("stray"), sealed.Mode); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if got, err := s.Get(f.Name); err != nil || !reflect.DeepEqual(got, v2) {
		t.Errorf("after opening again %+v, %v", got, err)
	}
	if _, err := os.Stat(s.codePath("f", stray)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("code without a user was not swept: %v", err)
	}
	if err := s.Remove(f.Name); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(f.Name); !errors.Is(err, lineage.ErrNotFound) {
		t.Errorf("removing twice: %v", err)
	}
	if _, err := s.Get(f.Name); !errors.Is(err, lineage.ErrNotFound) {
		t.Errorf("getting what was removed: %v", err)
	}
	noTemps(t, s)
}

func TestFunctionBadInput(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "../x", "a/b/c", "a\x00", "a.json", "ä", strings.Repeat("x", 65), " a"} {
		if _, err := s.Put(Function{Name: name, Handler: "h"}, nil); !errors.Is(err, lineage.ErrInvalid) {
			t.Errorf("put %q: %v", name, err)
		}
		if _, err := s.Get(name); !errors.Is(err, lineage.ErrNotFound) {
			t.Errorf("get %q: %v", name, err)
		}
		if err := s.Remove(name); !errors.Is(err, lineage.ErrNotFound) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	for _, handler := range []string{"", "a\nb", "\xff", strings.Repeat("x", 257)} {
		if _, err := s.Put(Function{Name: "a", Handler: handler}, nil); !errors.Is(err, lineage.ErrInvalid) {
			t.Errorf("handler %q: %v", handler, err)
		}
	}
	if _, err := s.Put(Function{Name: "a", Handler: "h"}, make([]byte, MaxCodeBytes+1)); !errors.Is(err, lineage.ErrInvalid) {
		t.Errorf("too much code: %v", err)
	}
	if _, err := s.Code(Function{Name: "a", CodeDigest: "../../etc/passwd"}); !errors.Is(err, lineage.ErrInvalid) {
		t.Errorf("code outside: %v", err)
	}
}

func TestFunctionDamage(t *testing.T) {
	s := open(t, t.TempDir())
	code := []byte("code")
	f, err := s.Put(Function{Name: "good", Handler: "h"}, code)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(Function{Name: "bad", Handler: "h"}, code); err != nil {
		t.Fatal(err)
	}
	sealedtest.Damage(t, s.recordPath("bad"), func(b []byte) []byte { return b[:len(b)/2] })
	if _, err := s.Get("bad"); !errors.Is(err, lineage.ErrFormat) {
		t.Errorf("damaged deployment: %v", err)
	}
	list, err := s.List()
	if len(list) != 1 || !reflect.DeepEqual(list[0], f) || !errors.Is(err, lineage.ErrFormat) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("list %v, %v", list, err)
	}
	sealedtest.Damage(t, s.codePath(f.Name, f.CodeDigest), func(b []byte) []byte { b[0] ^= 1; return b })
	if _, err := s.Code(f); !errors.Is(err, lineage.ErrChecksum) {
		t.Errorf("damaged code: %v", err)
	}
	// Deploying again repairs both, and a damaged deployment can be removed.
	if _, err := s.Put(Function{Name: "good", Handler: "h"}, code); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Code(f); err != nil || !bytes.Equal(b, code) {
		t.Errorf("repaired code: %q, %v", b, err)
	}
	if err := s.Remove("bad"); err != nil {
		t.Errorf("removing a damaged deployment: %v", err)
	}
}

func FuzzFunction(f *testing.F) {
	good, err := json.Marshal(Function{Name: "a", Handler: "h", CodeDigest: CodeDigest(nil)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"name":"a"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		fn, err := decode(b, "a")
		if err != nil {
			if !errors.Is(err, lineage.ErrFormat) {
				t.Fatalf("not ErrFormat: %v", err)
			}
			return
		}
		out, err := json.Marshal(fn)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decode(out, "a"); err != nil || again.Handler != fn.Handler || again.CodeDigest != fn.CodeDigest {
			t.Fatalf("%+v became %+v: %v", fn, again, err)
		}
	})
}

func TestVersions(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"f:10", "f", "f:9", "g", "f2"} {
		if _, err := s.Put(Function{Name: name, Handler: "h"}, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Versions("f")
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
	}
	if want := []string{"f", "f:9", "f:10"}; err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("versions %v, %v, want %v", names, err, want)
	}
	sealedtest.Damage(t, s.recordPath("g"), func([]byte) []byte { return nil })
	if list, err := s.Versions("f"); err != nil || len(list) != 3 {
		t.Errorf("with another one damaged %v, %v", list, err)
	}
	if list, err := s.Versions("none"); err != nil || len(list) != 0 {
		t.Errorf("of nothing %v, %v", list, err)
	}
}

// TestPutReadsNoOthers: a deployment whose code stays does not have all others read, with
// everybody's changes waiting.
func TestPutReadsNoOthers(t *testing.T) {
	s := open(t, t.TempDir())
	code := []byte("code")
	put := func(name string) {
		if _, err := s.Put(Function{Name: name, Handler: "h"}, code); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	few := testing.AllocsPerRun(5, func() { put("one") })
	for i := range 50 {
		put(fmt.Sprint("other", i))
	}
	if many := testing.AllocsPerRun(5, func() { put("one") }); many > 2*few {
		t.Errorf("%v allocations beside 50 others, %v alone", many, few)
	}
}
