package functions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"

	"seuss/lineage"
	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
)

func TestFunctionFailsAtEveryStep(t *testing.T) {
	s := open(t, t.TempDir())
	old, err := s.Put(Function{Name: "a", Handler: "old"}, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for ; ; steps++ {
		s.fs = (&sealedtest.FailAt{N: steps, Err: syscall.ENOSPC}).Wrap(sealed.OS())
		_, err := s.Put(Function{Name: "a", Handler: "new"}, fmt.Appendf(nil, "new %d", steps)) // code not stored before
		s.fs = sealed.OS()
		got, getErr := s.Get("a")
		if getErr != nil {
			t.Fatalf("step %d: %v", steps, getErr)
		}
		if _, codeErr := s.Code(got); codeErr != nil {
			t.Fatalf("step %d: %v", steps, codeErr)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.ENOSPC) || got.Handler != "new" && !reflect.DeepEqual(got, old) {
			t.Fatalf("step %d: %v, deployed is %+v", steps, err, got)
		}
		noTemps(t, s)
	}
	if steps < 10 {
		t.Errorf("only %d steps were tried", steps)
	}
}

// Power is cut after every call of a history, several times each: what was deployed
// is deployed, with its code, and what was removed does not come back with a part.
func TestPowerCut(t *testing.T) {
	for cut, done := 0, false; !done; cut++ {
		for try := range uint64(3) {
			dir := sealedtest.MemoryDir(t)
			s := open(t, dir)
			p := sealedtest.NewPowerCut(cut, rand.New(rand.NewPCG(uint64(cut), try)), sealedtest.MemoryDir(t))
			s.fs = p.Wrap(sealed.OS())
			var deployed []string
			done = func() bool {
				for i, name := range []string{"a", "b", "a", "a:1"} {
					if _, err := s.Put(Function{Name: name, Handler: "h"}, fmt.Appendf(nil, "code %d", i)); err != nil {
						return false
					}
					deployed = append(deployed, name)
				}
				return s.Remove("a:1") == nil && s.Remove("b") == nil
			}()
			s.Close()
			p.Lose(t)
			s = open(t, dir)
			list, err := s.List()
			if err != nil {
				t.Fatalf("cut after %d calls: %v", cut, err)
			}
			for _, f := range list {
				if _, err := s.Code(f); err != nil {
					t.Fatalf("cut after %d calls: %v", cut, err)
				}
			}
			for _, name := range deployed {
				if _, err := s.Get(name); err != nil && (name == "a" || len(deployed) < 4) {
					t.Fatalf("cut after %d calls: %q was deployed: %v", cut, name, err)
				}
			}
			if done && len(list) != 1 {
				t.Fatalf("removed, and there are %v", list)
			}
		}
		if cut > 200 {
			t.Fatal("the history does not end")
		}
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.Close()
	for _, folder := range []string{recordsDir, codeDir} {
		if err := os.WriteFile(filepath.Join(dir, folder, sealed.TempPrefix+"1"+sealed.TempSuffix), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	noTemps(t, open(t, dir))
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := s.List(); len(f) != 0 || err != nil {
		t.Errorf("functions %v, %v", f, err)
	}
	_, err = s.Put(Function{Name: "a", Handler: "h"}, nil)
	for i, err := range []error{err, s.Remove("a")} {
		if !errors.Is(err, lineage.ErrReadOnly) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("a read-only store wrote %v, %v", entries, err)
	}
	// What another one deploys is seen.
	if _, err := open(t, dir).Put(Function{Name: "a", Handler: "h"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("a"); err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, t.TempDir())
	s.Close()
	_, get := s.Get("a")
	_, put := s.Put(Function{Name: "a", Handler: "h"}, nil)
	_, list := s.List()
	_, code := s.Code(Function{Name: "a", CodeDigest: CodeDigest(nil)})
	for i, err := range []error{get, put, list, code, s.Remove("a")} {
		if !errors.Is(err, lineage.ErrClosed) {
			t.Errorf("use %d: %v", i, err)
		}
	}
}

// A cache learns of each deployment and removal, of versions too, and of nothing else.
func TestChanges(t *testing.T) {
	s := open(t, t.TempDir())
	for _, c := range []struct {
		what   string
		change func() error
	}{
		{"deploy", func() error { _, err := s.Put(Function{Name: "f", Handler: "h"}, nil); return err }},
		{"publish", func() error { _, err := s.Put(Function{Name: "f:1", Handler: "h"}, nil); return err }},
		{"remove a version", func() error { return s.Remove("f:1") }},
		{"remove", func() error { return s.Remove("f") }},
	} {
		g := s.Changes().Now()
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		if !s.Changes().Since("f", g) {
			t.Errorf("%s is not told", c.what)
		}
	}
	g := s.Changes().Now()
	if _, err := s.Put(Function{Name: "f"}, nil); err == nil || s.Changes().Any(g) {
		t.Errorf("a refused deployment is told: %v", err)
	}
}

// noTemps checks that nothing half-written is left.
func noTemps(t *testing.T, s *Store) {
	t.Helper()
	for _, folder := range []string{recordsDir, codeDir} {
		found, err := filepath.Glob(filepath.Join(s.dir, folder, sealed.TempPrefix+"*"))
		if err != nil || len(found) > 0 {
			t.Errorf("left behind: %v, %v", found, err)
		}
	}
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
