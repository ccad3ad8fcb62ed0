package functions

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"seuss/lineage"
)

func names(list []Function) (out []string) {
	for _, f := range list {
		out = append(out, f.Name)
	}
	return out
}

// TestOwners: two owners' functions of one name and code have nothing in common: no
// record, no version, no file of code; one goes and the other stays, whatever sweeps.
func TestOwners(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	code := []byte("the same code")
	all := []string{"alice/hello", "bob/hello", "bob/hello:1", "hello", "hello:1"}
	for _, key := range all {
		if _, err := s.Put(Function{Name: key, Handler: "h"}, code); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.List(); err != nil || !slices.Equal(names(list), all) {
		t.Errorf("%v, %v", names(list), err)
	}
	for owner, want := range map[string][]string{DefaultOwner: {"hello", "hello:1"}, "alice": {"alice/hello"}, "bob": {"bob/hello", "bob/hello:1"}, "carol": nil} {
		if list, err := s.Owned(owner); err != nil || !slices.Equal(names(list), want) {
			t.Errorf("%s: %v, %v", owner, names(list), err)
		}
	}
	if list, err := s.Versions("bob/hello"); err != nil || !slices.Equal(names(list), []string{"bob/hello", "bob/hello:1"}) {
		t.Errorf("%v, %v", names(list), err)
	}
	files := map[string]os.FileInfo{}
	digest := CodeDigest(code)
	for _, path := range []string{"code/" + digest, "code/alice/" + digest, "code/bob/" + digest} {
		st, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		for other, st2 := range files {
			if os.SameFile(st, st2) {
				t.Errorf("%s is %s", path, other)
			}
		}
		files[path] = st
	}
	if err := s.Remove("alice/hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "code/alice", digest)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unused code stays: %v", err)
	}
	s.Close()
	s = open(t, dir) // which sweeps
	for _, key := range []string{"hello", "bob/hello", "bob/hello:1"} {
		f, err := s.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Code(f); err != nil || string(got) != string(code) {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	if _, err := s.Get("alice/hello"); !errors.Is(err, lineage.ErrNotFound) {
		t.Error(err)
	}
	if owners, err := s.Owners(); err != nil || !slices.Equal(owners, []string{DefaultOwner, "alice", "bob"}) {
		t.Errorf("%v, %v", owners, err)
	}
	for _, key := range []string{"default/hello", "/hello", "alice/", "a/b/c", "../hello", "alice/../hello", "alice/hello:0", "al ice/x", ".alice/x"} {
		if _, err := s.Put(Function{Name: key, Handler: "h"}, code); !errors.Is(err, lineage.ErrInvalid) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ asker, name, key string }{
		{DefaultOwner, "hello", "hello"},
		{DefaultOwner, "alice/hello:3", "alice/hello:3"},
		{"alice", "hello", "alice/hello"},
		{"alice", "bob/hello", "bob/hello"},
		{"alice", "default/hello:1", "hello:1"},
	} {
		if got := KeyFor(c.asker, c.name); got != c.key {
			t.Errorf("%s's %s is %s", c.asker, c.name, got)
		}
		if got := NameFor(c.asker, c.key); got != c.name {
			t.Errorf("%s calls %s %s", c.asker, c.key, got)
		}
	}
	if KeyFor("alice", "alice/hello") != "alice/hello" || NameOf("alice/hello:2") != "hello:2" || OwnerOf("hello") != DefaultOwner || BaseName("alice/hello:2") != "alice/hello" {
		t.Error("names and keys")
	}
}

// TestOwnerNamedAsADigest: the folder of one whose name has a digest's form is not taken
// for code that nobody uses.
func TestOwnerNamedAsADigest(t *testing.T) {
	dir, code := t.TempDir(), []byte("code")
	key := Key(CodeDigest([]byte("other code")), "hello")
	s := open(t, dir)
	f, err := s.Put(Function{Name: key, Handler: "h"}, code)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	if got, err := s.Code(f); err != nil || string(got) != string(code) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOwnerNamedLikeCode: an owner whose name is the digest of the default owner's code, and
// code whose digest is an owner's name, are refused, and nothing is lost.
func TestOwnerNamedLikeCode(t *testing.T) {
	code, other := []byte("code"), []byte("other code")
	dir := t.TempDir()
	s := open(t, dir)
	taken := CodeDigest(other) + "/hello"
	for _, c := range []struct {
		name string
		code []byte
		ok   bool
	}{{"hello", code, true}, {CodeDigest(code) + "/hello", other, false}, {taken, code, true}, {"hello", other, false}} {
		if _, err := s.Put(Function{Name: c.name, Handler: "h"}, c.code); (err == nil) != c.ok {
			t.Errorf("%s with %s: %v", c.name, c.code, err)
		}
	}
	s.Close()
	s = open(t, dir) // which sweeps
	for _, name := range []string{"hello", taken} {
		got, err := s.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := s.Code(got); err != nil || string(b) != string(code) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if list, err := s.List(); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", names(list), err)
	}
}
