package sealed_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
)

// oldState is a state directory as releases left it that had no secrets in mind: each
// user may read it. The names of its files and folders are relative to it.
func oldState(t *testing.T, more int) (dir string, entries []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state")
	entries = []string{".", "nodes", "nodes/deeper", "functions", "nodes/a.node", "nodes/deeper/b", "functions/f.json", "events.db"}
	for n := range more {
		entries = append(entries, "nodes/"+strconv.Itoa(n)+".node")
	}
	for n, name := range entries {
		path := filepath.Join(dir, name)
		if n < 4 {
			check(t, os.MkdirAll(path, 0o755))
		} else {
			check(t, os.WriteFile(path, []byte("DB_PASSWORD"), 0o444))
		}
	}
	check(t, os.Chmod(filepath.Join(dir, "events.db"), 0o644))
	return dir, entries
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	st, err := os.Lstat(path)
	check(t, err)
	return st.Mode().Perm()
}

// TestPrivate: what other users could use is closed to them, in every folder, and
// links lead nowhere else.
func TestPrivate(t *testing.T) {
	dir, entries := oldState(t, 0)
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, os.WriteFile(outside, nil, 0o644))
	check(t, os.Symlink(outside, filepath.Join(dir, "nodes", "link")))
	n, err := sealed.Private(dir)
	if err != nil || n != len(entries) {
		t.Errorf("%d entries, %v, want %d", n, err, len(entries))
	}
	for name, want := range map[string]fs.FileMode{".": 0o700, "nodes": 0o700, "nodes/deeper": 0o700, "nodes/deeper/b": 0o400, "functions/f.json": 0o400, "events.db": 0o600} {
		if got := mode(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	if got := mode(t, outside); got != 0o644 {
		t.Errorf("a file outside has mode %o", got)
	}
	if n, err := sealed.Private(dir); n != 0 || err != nil {
		t.Errorf("%d entries the second time, %v", n, err)
	}
}

// TestPrivateIsBounded: a store that is closed is not walked, however large, and one
// that was left half way is finished.
func TestPrivateIsBounded(t *testing.T) {
	dir, _ := oldState(t, 10_000)
	check(t, os.Chmod(dir, 0o700)) // an earlier attempt came this far
	n, err := sealed.Private(dir)
	if err != nil || n != 10_007 {
		t.Errorf("%d entries, %v, want all but the directory", n, err)
	}
	inside := filepath.Join(dir, "nodes", "deeper", "b")
	check(t, os.Chmod(inside, 0o444)) // nobody else reaches it
	if n, err := sealed.Private(dir); n != 0 || err != nil || mode(t, inside) != 0o444 {
		t.Errorf("a closed folder was walked: %d entries, %v", n, err)
	}
}

// TestPrivateRefuses: a directory that is somebody else's, or everybody's, stays as it
// is.
func TestPrivateRefuses(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, dir string) error{
		"temporary files": func(t *testing.T, dir string) error {
			t.Setenv("TMPDIR", dir)
			return os.Chmod(dir, 0o777|fs.ModeSticky)
		},
		"a home directory": func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			check(t, os.Chmod(dir, 0o755))
			check(t, prepare(t, dir))
			before := mode(t, dir)
			if _, err := sealed.Private(dir); !errors.Is(err, sealed.ErrShared) {
				t.Error(err)
			}
			if mode(t, dir) != before {
				t.Errorf("it has mode %o", mode(t, dir))
			}
		})
	}
	t.Run("another user's", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		check(t, os.Mkdir(dir, 0o755))
		check(t, os.Chmod(dir, 0o777))
		check(t, os.Chmod(filepath.Dir(dir), 0o755))
		check(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755))
		sealedtest.AsNobody(t, func() {
			if _, err := sealed.Private(dir); !errors.Is(err, sealed.ErrShared) {
				t.Error(err)
			}
		})
	})
}

// TestLockIsPrivate: others cannot open the lock, and what they had open from an
// earlier release is the lock no more.
func TestLockIsPrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	check(t, os.WriteFile(path, []byte("1\n"), 0o644))
	check(t, os.Chmod(path, 0o644))
	old, err := os.Open(path)
	check(t, err)
	defer old.Close()
	lock, err := sealed.Lock(path)
	check(t, err)
	if got := mode(t, path); got != 0o600 {
		t.Errorf("mode %o", got)
	}
	if err := unix.Flock(int(old.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatalf("the earlier file is still the lock: %v", err)
	}
	if _, err := sealed.Lock(path); !errors.Is(err, sealed.ErrLocked) {
		t.Errorf("the lock was taken twice: %v", err)
	}
	check(t, lock.Close())
	if lock, err = sealed.Lock(path); err != nil {
		t.Errorf("whoever had the earlier file open holds the lock: %v", err)
	} else {
		check(t, lock.Close())
	}
	// One that somebody holds is nobody's to replace.
	check(t, os.Remove(path))
	check(t, os.WriteFile(path, []byte("4711\n"), 0o644))
	check(t, os.Chmod(path, 0o644))
	held, err := os.Open(path)
	check(t, err)
	defer held.Close()
	check(t, unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	if _, err := sealed.Lock(path); !errors.Is(err, sealed.ErrLocked) {
		t.Error(err)
	}
}
