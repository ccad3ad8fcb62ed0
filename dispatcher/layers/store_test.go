package layers

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func zipOf(t *testing.T, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		f, err := z.Create(entries[i])
		if err == nil {
			_, err = io.WriteString(f, entries[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestVersions: versions are numbered in the order in which they are published, are there
// when the store is opened again, and a number is never given twice.
func TestVersions(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	b := zipOf(t, "python/a.py", "A = 1\n")
	var wait sync.WaitGroup
	for range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if _, err := s.Publish(Version{Owner: "alice", Name: "a"}, b); err != nil {
				t.Error(err)
			}
		}()
	}
	wait.Wait()
	if err := s.Delete("alice", "a", 8); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete("alice", "a", 99); err != nil {
		t.Error(err)
	}
	s = New(dir)
	v, err := s.Publish(Version{Owner: "alice", Name: "a", Description: "d", Runtimes: []string{"r"}}, b)
	if err != nil || v.Number != 9 || v.Unpacked != 6 {
		t.Fatalf("%+v, %v", v, err)
	}
	list, err := s.Versions("alice", "a")
	if err != nil || len(list) != 8 || list[0].Number != 9 || list[0].Description != "d" || list[7].Number != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if got, err := s.Archive(list[0]); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for _, owner := range []string{"bob", "", "..", "alice/a"} {
		if list, err := s.List(owner); len(list) != 0 {
			t.Errorf("of %q: %+v, %v", owner, list, err)
		}
		if _, err := s.Get(owner, "a", 1); !errors.Is(err, ErrNotFound) {
			t.Errorf("of %q: %v", owner, err)
		}
	}
	if _, err := s.Publish(Version{Owner: "alice", Name: "../b"}, b); err == nil {
		t.Error("a name that leads elsewhere is taken")
	}
}

// TestHalfPublished: of a version that could not be described nothing stays, and its number is
// not given again.
func TestHalfPublished(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	s.fs.Rename = func(from, to string) error {
		if filepath.Ext(to) == describedSuffix {
			return syscall.ENOSPC
		}
		return os.Rename(from, to)
	}
	b := zipOf(t, "x", "y")
	if _, err := s.Publish(Version{Owner: "alice", Name: "a"}, b); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, dirName, "alice", "a", "*.*")); err != nil || len(left) != 0 {
		t.Errorf("%q, %v", left, err)
	}
	s.fs.Rename = os.Rename
	if v, err := s.Publish(Version{Owner: "alice", Name: "a"}, b); err != nil || v.Number != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestDamage: an archive that is not what was published is given to nobody.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	v, err := s.Publish(Version{Owner: "alice", Name: "a"}, zipOf(t, "x", "y"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, dirName, "alice", "a", "1.zip")
	if err := errors.Join(os.Remove(path), os.WriteFile(path, zipOf(t, "x", "z"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Archive(v); err == nil {
		t.Error("a damaged archive is read")
	}
	var deep []string // as many directories as names can have
	for i := range 600 {
		deep = append(deep, fmt.Sprint(i)+strings.Repeat("/a", 2000), "")
	}
	for _, bad := range [][]byte{nil, []byte("x"), zipOf(t), zipOf(t, "/x", "y"), zipOf(t, "a/../../x", "y"), zipOf(t, strings.Repeat("a/", 2100)+"a", ""), zipOf(t, deep...)} {
		if _, err := s.Publish(Version{Owner: "alice", Name: "a"}, bad); !errors.Is(err, ErrArchive) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}
