package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// failAt makes the n-th operation of the sealing file system fail, counting from
// zero, and every one after it if forever is set.
type failAt struct {
	n, seen int
	err     error
	forever bool
	die     bool // kill this process instead
}

func (f *failAt) step() error {
	f.seen++
	if f.seen-1 == f.n && f.die {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {} // until the signal arrives
	}
	if f.seen-1 == f.n || f.forever && f.seen-1 > f.n {
		return f.err
	}
	return nil
}

func (f *failAt) wrap(real sealFS) sealFS {
	return sealFS{
		create: func(dir string) (sealFile, error) {
			if err := f.step(); err != nil {
				return nil, err
			}
			file, err := real.create(dir)
			return &failFile{file, f}, err
		},
		rename: func(from, to string) error {
			if err := f.step(); err != nil {
				return err
			}
			return real.rename(from, to)
		},
		link: func(from, to string) error {
			if err := f.step(); err != nil {
				return err
			}
			return real.link(from, to)
		},
		remove: func(path string) error {
			if f.die { // a failed removal has tests of its own
				_ = f.step()
			}
			return real.remove(path)
		},
		syncDir: func(dir string) error {
			if err := f.step(); err != nil {
				return err
			}
			return real.syncDir(dir)
		},
	}
}

type failFile struct {
	sealFile
	f *failAt
}

func (w *failFile) Write(b []byte) (int, error) {
	if w.f.die && w.f.seen == w.f.n {
		_, _ = w.sealFile.Write(b[:len(b)/2]) // a torn write
	}
	if err := w.f.step(); err != nil {
		n, _ := w.sealFile.Write(b[:len(b)/2]) // a torn write
		return n, err
	}
	return w.sealFile.Write(b)
}

func (w *failFile) WriteAt(b []byte, off int64) (int, error) {
	if err := w.f.step(); err != nil {
		return 0, err
	}
	return w.sealFile.WriteAt(b, off)
}

func (w *failFile) Chmod(mode fs.FileMode) error {
	if err := w.f.step(); err != nil {
		return err
	}
	return w.sealFile.Chmod(mode)
}

func (w *failFile) Sync() error {
	if err := w.f.step(); err != nil {
		return err
	}
	return w.sealFile.Sync()
}

func (w *failFile) Close() error {
	err := w.sealFile.Close()
	return errors.Join(w.f.step(), err)
}

// Whatever step of a capture fails, nothing new is visible, and the store works.
func TestCaptureFailsAtEveryStep(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		dir := t.TempDir()
		s := openStore(t, dir)
		image := addTestImage(t, s)
		g := newGuest(testGuestPages)
		g.reset(image.View())
		g.scribble(rand.New(rand.NewPCG(1, 7)), 200)
		steps := 0
		for done := false; !done; steps++ {
			f := &failAt{n: steps, err: cause, forever: steps%2 == 0}
			s.fs = f.wrap(osSealFS())
			n, err := s.Capture(NodeSpec{Kind: KindBase, State: []byte("s")}, image, g.dirty, g.page)
			s.fs = osSealFS()
			if done = err == nil; done {
				checkView(t, n.View(), g.mem)
				break
			}
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), image.ID) {
				t.Fatalf("step %d: %v, want %v", steps, err, cause)
			}
			if got := s.List(); len(got) != 1 {
				t.Fatalf("step %d: %d nodes are visible", steps, len(got))
			}
			noTemps(t, s)
			ro, err := Open(dir, Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(ro.List()) != 1 || len(ro.Damaged()) != 0 {
				t.Fatalf("step %d: on disk %d nodes, damaged %v", steps, len(ro.List()), ro.Damaged())
			}
		}
		if steps < 9 {
			t.Errorf("only %d steps were tried", steps)
		}
	}
}

func TestFunctionFailsAtEveryStep(t *testing.T) {
	s := openStore(t, t.TempDir())
	old, err := s.PutFunction(Function{Name: "a", Handler: "old"}, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for ; ; steps++ {
		s.fs = (&failAt{n: steps, err: syscall.ENOSPC}).wrap(osSealFS())
		_, err := s.PutFunction(Function{Name: "a", Handler: "new"}, fmt.Appendf(nil, "new %d", steps)) // code not stored before
		s.fs = osSealFS()
		got, getErr := s.GetFunction("a")
		if getErr != nil {
			t.Fatalf("step %d: %v", steps, getErr)
		}
		if _, codeErr := s.FunctionCode(got); codeErr != nil {
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

// mountTmpfs mounts a small file system, or skips where that is not allowed.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a file system is not allowed here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func TestDiskFull(t *testing.T) {
	s := openStore(t, mountTmpfs(t, "size=1m"))
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	g.reset(image.View())
	for p := range uint64(600) {
		g.fill(p, p+1)
	}
	if _, err := s.Capture(NodeSpec{Kind: KindBase}, image, g.dirty, g.page); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("capturing more than the disk holds: %v", err)
	}
	noTemps(t, s)
	g.reset(image.View())
	g.fill(7, 7)
	n := capture(t, s, NodeSpec{Kind: KindBase}, image, g)
	checkView(t, n.View(), g.mem)
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := mountTmpfs(t, "size=4m")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	nodes, mem := testTree(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("remounting read-only is not allowed here: %v", err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "read-only") || !strings.Contains(err.Error(), dir) {
		t.Errorf("opening for writing: %v", err)
	}
	ro, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	n, err := ro.Load(nodes[5].ID)
	if err != nil {
		t.Fatal(err)
	}
	checkView(t, n.View(), mem[5])
}

func TestReadOnlyStoreRefusesChanges(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	nodes, _ := testTree(t, s)
	ro, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	g := newGuest(testGuestPages)
	_, err = ro.Capture(NodeSpec{Kind: KindBase}, nodes[0], g.dirty, g.page)
	errs := []error{err, ro.Remove(nodes[5].ID, true), ro.RemoveFunction("a"), ro.FlushHits()}
	_, err = ro.AddImage(nodes[0].ImageDigest, s.ImagePath(nodes[0].ImageDigest), 10, nil)
	errs = append(errs, err)
	_, err = ro.PutFunction(Function{Name: "a", Handler: "h"}, nil)
	for i, err := range append(errs, err) {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if f, err := ro.ListFunctions(); len(f) != 0 || err != nil {
		t.Errorf("functions %v, %v", f, err)
	}
	if err := ro.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(dir, "none"), Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read-only without a directory: %v", err)
	}
	empty := t.TempDir()
	if ro, err = Open(empty, Options{ReadOnly: true}); err != nil {
		t.Error(err)
	} else if entries, _ := os.ReadDir(empty); len(entries) != 0 || len(ro.List()) != 0 {
		t.Errorf("a read-only store wrote %v", entries)
	}
}

func TestClosedStore(t *testing.T) {
	s := openStore(t, t.TempDir())
	nodes, _ := testTree(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	g := newGuest(testGuestPages)
	_, err := s.Capture(NodeSpec{Kind: KindBase}, nodes[0], g.dirty, g.page)
	errs := []error{err, s.Remove(nodes[5].ID, true), s.Verify(nodes[0].ID)}
	_, err = s.Load(nodes[0].ID)
	errs = append(errs, err)
	_, err = s.GetFunction("a")
	for i, err := range append(errs, err) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("use %d: %v", i, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	keep := filepath.Join(dir, imagesDir, "being-written.tmp")
	for _, path := range []string{keep,
		filepath.Join(dir, imagesDir, tempPrefix+"1"+tempSuffix), filepath.Join(dir, nodesDir, tempPrefix+"2"+tempSuffix),
		filepath.Join(dir, functionsDir, tempPrefix+"3"+tempSuffix), filepath.Join(dir, codeDir, tempPrefix+"4"+tempSuffix)} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, dir)
	noTemps(t, s)
	if _, err := os.Stat(keep); err != nil {
		t.Errorf("a file of somebody else was swept: %v", err)
	}
	if len(s.Damaged()) != 0 {
		t.Errorf("damaged: %v", s.Damaged())
	}
}
