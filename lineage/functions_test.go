package lineage

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestFunctions(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	code := []byte("def main(a): return a")
	f, err := s.PutFunction(Function{Name: "hello-1_A", Handler: "main", Lazy: true}, code)
	if err != nil {
		t.Fatal(err)
	}
	if f.CodeDigest != CodeDigest(code) || f.Deployed.IsZero() {
		t.Errorf("deployed as %+v", f)
	}
	if _, err := s.PutFunction(Function{Name: "twin", Handler: "main"}, code); err != nil {
		t.Fatal(err)
	}
	got, err := s.GetFunction("hello-1_A")
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("got %+v, %v, want %+v", got, err, f)
	}
	if b, err := s.FunctionCode(got); err != nil || !bytes.Equal(b, code) {
		t.Errorf("code %q, %v", b, err)
	}
	list, err := s.ListFunctions()
	if err != nil || len(list) != 2 || list[0].Name != "hello-1_A" || list[1].Name != "twin" {
		t.Errorf("list %+v, %v", list, err)
	}
	// Shared code stays until its last user is gone.
	if err := s.RemoveFunction("twin"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FunctionCode(f); err != nil {
		t.Error(err)
	}
	// A new version replaces the old one, whose code goes.
	v2, err := s.PutFunction(Function{Name: f.Name, Handler: "main2"}, []byte("v2"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.FunctionCode(f); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("code of the old version: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stray := CodeDigest([]byte("stray"))
	if err := os.WriteFile(s.codePath(stray), []byte("stray"), sealedMode); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	if got, err := s.GetFunction(f.Name); err != nil || !reflect.DeepEqual(got, v2) {
		t.Errorf("after opening again %+v, %v", got, err)
	}
	if _, err := os.Stat(s.codePath(stray)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("code without a user was not swept: %v", err)
	}
	if err := s.RemoveFunction(f.Name); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveFunction(f.Name); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing twice: %v", err)
	}
	if _, err := s.GetFunction(f.Name); !errors.Is(err, ErrNotFound) {
		t.Errorf("getting what was removed: %v", err)
	}
	noTemps(t, s)
}

func TestFunctionBadInput(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a\x00", "a.json", "ä", strings.Repeat("x", 65), " a"} {
		if _, err := s.PutFunction(Function{Name: name, Handler: "h"}, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("put %q: %v", name, err)
		}
		if _, err := s.GetFunction(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %q: %v", name, err)
		}
		if err := s.RemoveFunction(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	for _, handler := range []string{"", "a\nb", "\xff", strings.Repeat("x", 257)} {
		if _, err := s.PutFunction(Function{Name: "a", Handler: handler}, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("handler %q: %v", handler, err)
		}
	}
	if _, err := s.PutFunction(Function{Name: "a", Handler: "h"}, make([]byte, MaxCodeBytes+1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("too much code: %v", err)
	}
	if _, err := s.FunctionCode(Function{Name: "a", CodeDigest: "../../etc/passwd"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("code outside: %v", err)
	}
}

func TestFunctionDamage(t *testing.T) {
	s := openStore(t, t.TempDir())
	code := []byte("code")
	f, err := s.PutFunction(Function{Name: "good", Handler: "h"}, code)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutFunction(Function{Name: "bad", Handler: "h"}, code); err != nil {
		t.Fatal(err)
	}
	damage(t, s.functionPath("bad"), func(b []byte) []byte { return b[:len(b)/2] })
	if _, err := s.GetFunction("bad"); !errors.Is(err, ErrFormat) {
		t.Errorf("damaged deployment: %v", err)
	}
	list, err := s.ListFunctions()
	if len(list) != 1 || !reflect.DeepEqual(list[0], f) || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("list %v, %v", list, err)
	}
	damage(t, s.codePath(f.CodeDigest), func(b []byte) []byte { b[0] ^= 1; return b })
	if _, err := s.FunctionCode(f); !errors.Is(err, ErrChecksum) {
		t.Errorf("damaged code: %v", err)
	}
	// Deploying again repairs both, and a damaged deployment can be removed.
	if _, err := s.PutFunction(Function{Name: "good", Handler: "h"}, code); err != nil {
		t.Fatal(err)
	}
	if b, err := s.FunctionCode(f); err != nil || !bytes.Equal(b, code) {
		t.Errorf("repaired code: %q, %v", b, err)
	}
	if err := s.RemoveFunction("bad"); err != nil {
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
		fn, err := decodeFunction(b, "a")
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("not ErrFormat: %v", err)
			}
			return
		}
		out, err := json.Marshal(fn)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeFunction(out, "a"); err != nil || again.Handler != fn.Handler || again.CodeDigest != fn.CodeDigest {
			t.Fatalf("%+v became %+v: %v", fn, again, err)
		}
	})
}
