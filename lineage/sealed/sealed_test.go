package sealed_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
)

// names are what a directory holds.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteFile(t *testing.T) {
	system := sealed.OS()
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"first", "", strings.Repeat("x", 1<<20)} {
		earlier, err := os.Open(path)
		was := ""
		if err == nil {
			was = content(t, path)
		}
		if err := system.WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != text {
			t.Errorf("%d bytes, want %d", len(got), len(text))
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != sealed.Mode {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if earlier != nil { // who has the earlier file open keeps it
			var b bytes.Buffer
			if _, err := b.ReadFrom(earlier); err != nil || b.String() != was {
				t.Errorf("the earlier file reads %q, %v; want %q", b.String(), err, was)
			}
			earlier.Close()
		}
		if list := names(t, filepath.Dir(path)); len(list) != 1 {
			t.Errorf("the directory holds %q", list)
		}
	}
}

// TestWriteFailsAtEveryStep: wherever the file system fails, what was there is there
// still and whole, an error says that the new content is not stored, and nothing is left
// under a temporary name.
func TestWriteFailsAtEveryStep(t *testing.T) {
	for _, cause := range []error{unix.ENOSPC, unix.EIO, unix.EROFS} {
		for _, before := range []bool{false, true} {
			steps := 0
			for n := 0; n == 0 || n < steps; n++ {
				dir := t.TempDir()
				path := filepath.Join(dir, "f")
				real := sealed.OS()
				if before {
					if err := real.WriteFile(path, []byte("before")); err != nil {
						t.Fatal(err)
					}
				}
				f := &sealedtest.FailAt{N: n, Err: cause}
				failing := f.Wrap(real)
				err := failing.WriteFile(path, []byte("after"))
				if !errors.Is(err, cause) {
					t.Fatalf("step %d: error %v, want %v", n, err, cause)
				}
				if n == 0 {
					count := &sealedtest.FailAt{N: -1}
					counting := count.Wrap(real)
					if err := counting.WriteFile(filepath.Join(t.TempDir(), "f"), nil); err != nil {
						t.Fatal(err)
					}
					steps = count.Seen
				}
				list := names(t, dir)
				switch {
				case len(list) == 0 && !before:
				case len(list) == 1 && list[0] == "f" && before:
					// A rename whose directory cannot be synced may be in force or not.
					if got := content(t, path); got != "before" && !(n == steps-1 && got == "after") {
						t.Errorf("step %d: the file reads %q", n, got)
					}
				default:
					t.Errorf("step %d, before %v: the directory holds %q", n, before, list)
				}
			}
			if steps < 5 {
				t.Errorf("only %d steps", steps)
			}
		}
	}
}

func TestDiscard(t *testing.T) {
	system, dir := sealed.OS(), t.TempDir()
	for name, seal := range map[string]bool{"written": false, "sealed": true} {
		p, err := system.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
		if !sealed.IsTemp(filepath.Base(p.Name())) {
			t.Errorf("temporary name %s", p.Name())
		}
		if seal {
			if err := p.Seal(); err != nil {
				t.Fatal(err)
			}
		}
		p.Discard()
		p.Discard()
		if list := names(t, dir); len(list) != 0 || p.Named() {
			t.Errorf("%s: %q are left, named %v", name, list, p.Named())
		}
	}
}

func TestDelete(t *testing.T) {
	system, path := sealed.OS(), filepath.Join(t.TempDir(), "f")
	if err := system.Delete(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
	if err := errors.Join(system.WriteFile(path, nil), system.Delete(path)); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("it is there still")
	}
	f := &sealedtest.FailAt{N: 0, Err: unix.EIO}
	failing := f.Wrap(system)
	if err := system.WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	if err := failing.Delete(path); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "sync") {
		t.Errorf("a removal that is not durable: %v", err)
	}
}

// TestSweep removes what is ours and temporary, and nothing else.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	kept := []string{"f", "node.tmp", sealed.TempPrefix + "x", "x" + sealed.TempSuffix, ".other-1" + sealed.TempSuffix}
	for _, name := range append([]string{sealed.TempPrefix + "1" + sealed.TempSuffix, sealed.TempPrefix + sealed.TempSuffix}, kept...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := sealed.Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if list := names(t, dir); len(list) != len(kept) {
		t.Errorf("%q are left, want %q", list, kept)
	}
	if err := sealed.Sweep(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// TestUnlockedSweep: where several may write, only what nobody can be writing is swept.
func TestUnlockedSweep(t *testing.T) {
	dir := t.TempDir()
	u := sealed.NewUnlocked(".build-", time.Hour)
	p, err := u.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Discard()
	old := filepath.Join(dir, ".build-old"+sealed.TempSuffix)
	theirs := filepath.Join(dir, sealed.TempPrefix+"old"+sealed.TempSuffix)
	for _, path := range []string{old, theirs} {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, time.Time{}, time.Now().Add(-2*time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Sweep(dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{p.Name(): true, old: false, theirs: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", filepath.Base(path), err == nil, want)
		}
	}
}

func TestReadFile(t *testing.T) {
	system, path := sealed.OS(), filepath.Join(t.TempDir(), "f")
	if err := system.WriteFile(path, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int64]error{5: nil, 100: nil, 4: sealed.ErrTooLarge, 0: sealed.ErrTooLarge} {
		b, err := sealed.ReadFile(path, limit)
		if !errors.Is(err, want) || want == nil && string(b) != "12345" {
			t.Errorf("limit %d: %q, %v", limit, b, err)
		}
	}
	if _, err := sealed.ReadFile(path+"x", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	// A file without an end, whose size says nothing of it.
	if _, err := sealed.ReadFile("/dev/zero", 1<<16); !errors.Is(err, sealed.ErrTooLarge) {
		t.Errorf("an endless file: %v", err)
	}
}

// TestLock: one process has it, and the kernel gives it back however that ends.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), sealed.LockName)
	if os.Getenv("SEALED_TEST_LOCK") != "" { // the other process
		if _, err := sealed.Lock(os.Getenv("SEALED_TEST_LOCK")); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		select {}
	}
	other := exec.Command(os.Args[0], "-test.run", "^TestLock$")
	other.Env = append(os.Environ(), "SEALED_TEST_LOCK="+path)
	out, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := sealed.Lock(path); !errors.Is(err, sealed.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(other.Process.Pid)) {
		t.Errorf("while process %d has it: %v", other.Process.Pid, err)
	}
	_ = errors.Join(other.Process.Kill(), other.Wait()) // it was killed
	f, err := sealed.Lock(path)
	if err != nil {
		t.Fatalf("after it was killed: %v", err)
	}
	f.Close()
}

// TestLockFollowsNoLink: neither to a file that is there, which it would write, nor to one
// that it would make, nor for ever.
func TestLockFollowsNoLink(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{"there": "content", "absent": ""} {
		target, path := filepath.Join(outside, name), filepath.Join(dir, name)
		if content != "" {
			if err := os.WriteFile(target, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		if f, err := sealed.Lock(path); err == nil || !strings.Contains(err.Error(), "it is a link") {
			t.Errorf("%s: %v, %v", name, f, err)
		}
		if b, err := os.ReadFile(target); string(b) != content || content == "" && err == nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}
