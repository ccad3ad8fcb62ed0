package lineage

import (
	"bytes"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

func TestBlobIsNeverWritable(t *testing.T) {
	s := openStore(t, t.TempDir())
	nodes, mem := testTree(t, s)
	for _, n := range nodes {
		b := n.Blob()
		f := b.File()
		if _, err := f.WriteAt([]byte{1}, b.DataOffset()); err == nil {
			t.Error("a blob's file can be written")
		}
		if fi, err := f.Stat(); err != nil || fi.Mode().Perm()&0o222 != 0 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
		got := make([]byte, b.Pages()*nodefile.PageSize)
		if n, err := f.ReadAt(got, b.DataOffset()); n != len(got) || !bytes.Equal(got, pagesOf(b)) {
			t.Errorf("the file has other content than the memory: %d bytes, %v", n, err)
		}
		func() {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			defer func() {
				if recover() == nil {
					t.Error("a blob's memory can be written")
				}
			}()
			b.Bytes(0)[0] ^= 1
		}()
	}
	for i, n := range nodes {
		checkView(t, n.View(), mem[i])
	}
}

// pagesOf is all that a blob shows.
func pagesOf(b *pages.Blob) (all []byte) {
	for page := range b.Pages() {
		all = append(all, b.Bytes(page)...)
	}
	return all
}

// openFiles counts this process's file descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// collectUntil runs the garbage collector until done says so.
func collectUntil(done func() bool) bool {
	for range 200 {
		runtime.GC()
		if done() {
			return true
		}
		time.Sleep(10 * time.Millisecond) // clean-ups run on their own goroutine
	}
	return false
}

// Opening a store opens no node; using nodes and letting go of them leaks none.
func TestFilesAreOpenedLazilyAndReleased(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	g, r := newGuest(testGuestPages), rand.New(rand.NewPCG(1, 1))
	image := addTestImage(t, s)
	g.reset(image.View())
	var last *Node
	for i := range 100 {
		g.reset(image.View())
		g.scribble(r, 3)
		last = capture(t, s, NodeSpec{State: []byte{byte(i)}}, image, g)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	id, imageID := last.ID, image.ID
	settled := 0 // files of earlier tests may still be about to go
	collectUntil(func() bool { n := openFiles(t); same := n == settled; settled = n; return same })
	before := openFiles(t)
	again := openStore(t, dir)
	if n := openFiles(t) - before; n > 10 {
		t.Fatalf("opening a store of 101 nodes opened %d files", n)
	}
	n, err := again.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range again.List() {
		if n.Loaded() != (n.ID == id || n.ID == imageID) {
			t.Fatalf("node %s: loaded is %v", n.ID, n.Loaded())
		}
	}
	view := n.View()
	checkView(t, view, g.mem)
	blob := n.Blob()
	again.Unload(id)
	if n.View() != nil || n.State() != nil {
		t.Error("an unloaded node has a view")
	}
	if _, err := again.Load(id); err != nil {
		t.Fatal(err)
	}
	if n.Blob() != blob {
		t.Error("a blob in use was mapped a second time")
	}
	for range pages.Diff(view, n.View()) {
		t.Error("the same node loaded twice differs from itself")
	}
	for _, n := range again.List() {
		if _, err := again.Load(n.ID); err != nil {
			t.Fatal(err)
		}
	}
	blob = nil
	for _, n := range again.List() {
		again.Unload(n.ID)
	}
	if !collectUntil(func() bool { return openFiles(t) <= before+10 }) {
		t.Errorf("%d files are still open after unloading", openFiles(t)-before)
	}
	checkView(t, view, g.mem) // this one was held
}
