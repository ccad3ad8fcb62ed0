package lineage

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
)

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
			f := &sealedtest.FailAt{N: steps, Err: cause, Forever: steps%2 == 0}
			s.fs = f.Wrap(sealed.OS())
			n, err := s.Capture(NodeSpec{Kind: nodefile.KindBase, State: []byte("s")}, image, g.dirty, g.page)
			s.fs = sealed.OS()
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
	if _, err := s.Capture(NodeSpec{Kind: nodefile.KindBase}, image, g.dirty, g.page); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("capturing more than the disk holds: %v", err)
	}
	noTemps(t, s)
	g.reset(image.View())
	g.fill(7, 7)
	n := capture(t, s, NodeSpec{Kind: nodefile.KindBase}, image, g)
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
	_, err = ro.Capture(NodeSpec{Kind: nodefile.KindBase}, nodes[0], g.dirty, g.page)
	errs := []error{err, ro.Remove(nodes[5].ID, true), ro.FlushHits()}
	_, err = ro.AddImage(nodes[0].ImageDigest, s.ImagePath(nodes[0].ImageDigest), 10, nil)
	for i, err := range append(errs, err) {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("change %d: %v", i, err)
		}
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
	_, err := s.Capture(NodeSpec{Kind: nodefile.KindBase}, nodes[0], g.dirty, g.page)
	errs := []error{err, s.Remove(nodes[5].ID, true), Inspection{s}.Verify(nodes[0].ID)}
	_, err = s.Load(nodes[0].ID)
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
		filepath.Join(dir, imagesDir, sealed.TempPrefix+"1"+sealed.TempSuffix), filepath.Join(dir, nodesDir, sealed.TempPrefix+"2"+sealed.TempSuffix)} {
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
