package lineage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

const lockHolderEnv = "LINEAGE_TEST_HOLD_LOCK"

// TestMain lets the test binary play the process that holds the lock: it opens
// the directory, says so, and waits until its standard input ends.
func TestMain(m *testing.M) {
	if dir := os.Getenv(tortureEnv); dir != "" {
		tortureWriter(dir)
	}
	if dir := os.Getenv(lockHolderEnv); dir != "" {
		if _, err := Open(dir, Options{}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("open")
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestSecondOpener(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second opener: %v", err)
	}
	if _, err := Open(dir, Options{ReadOnly: true}); err != nil {
		t.Errorf("a reader beside a writer: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockHolderEnv+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 64)
	n, _ := out.Read(said)
	if string(said[:n]) != "open\n" {
		t.Errorf("holder said %q", said[:n])
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("opener beside process %d: %v", cmd.Process.Pid, err)
	}
	// Even a holder that is killed gives the directory free.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	_ = cmd.Wait() // killed
	s, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// Readers see whole nodes and whole trees while captures, removals and unloads
// go on.
func TestReadersDuringCaptures(t *testing.T) {
	s := openStore(t, t.TempDir())
	image := addTestImage(t, s)
	imageView := image.View()
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 11))
			g, parent := newGuest(testGuestPages), image
			g.reset(imageView)
			for i := range 12 {
				g.scribble(r, 20)
				n, err := s.Capture(NodeSpec{Kind: nodefile.KindFunction, State: []byte{byte(w), byte(i)}}, parent, g.dirty, g.page)
				if err != nil {
					t.Error(err)
					return
				}
				g.dirty.Clear()
				snapshot, err := s.Snapshot(n.ID) // a reader may have unloaded it
				if err != nil {
					t.Error(err)
					return
				}
				checkViewSampled(t, snapshot.View, g)
				parent = n
				if i%4 == 3 {
					if err := s.Remove(n.ID, false); err != nil {
						t.Error(err)
						return
					}
					above, err := s.Snapshot(n.Parent)
					if err != nil {
						t.Error(err)
						return
					}
					parent = above.Node
					g.reset(above.View)
				}
			}
		})
	}
	for range 3 {
		readers.Go(func() {
			for {
				watch := s.catalogue().Watch()
				for _, n := range s.List() {
					snapshot, err := s.Snapshot(n.ID)
					if err != nil {
						if s.lookup(n.ID) == nil {
							continue // removed meanwhile
						}
						t.Errorf("load: %v", err)
						return
					}
					n.Hit()
					for range pages.Diff(imageView, snapshot.View) {
						break
					}
					s.Unload(n.ID)
				}
				select {
				case <-stop:
					return
				case <-watch:
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for _, n := range s.List() {
		if err := (Inspection{s}).Verify(n.ID); err != nil {
			t.Error(err)
		}
	}
}

func checkViewSampled(t *testing.T, v *pages.View, g *memory) {
	for p := uint64(0); p < g.pages(); p += 7 {
		if string(nodefile.OrZero(v.Bytes(p))) != string(g.page(p)) {
			t.Errorf("page %d differs", p)
			return
		}
	}
}

// Several goroutines that capture the same state get the same node.
func TestSameCaptureConcurrently(t *testing.T) {
	s := openStore(t, t.TempDir())
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	g.reset(image.View())
	g.scribble(rand.New(rand.NewPCG(8, 8)), 50)
	nodes := make([]*Node, 8)
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() {
			n, err := s.Capture(NodeSpec{Kind: nodefile.KindBase}, image, g.dirty, g.page)
			if err != nil {
				t.Error(err)
			}
			nodes[i] = n
		})
	}
	wg.Wait()
	for _, n := range nodes {
		if n != nodes[0] {
			t.Fatal("one state, two nodes")
		}
	}
	checkView(t, nodes[0].View(), g.mem)
	noTemps(t, s)
}

// TestCaptureWhileRemoved: a node whose content is captured again while it is removed is either
// the one that was there or a new one; no capture fails for it.
func TestCaptureWhileRemoved(t *testing.T) {
	s := openStoreAs(t, t.TempDir(), Options{Verify: pages.VerifyDemand})
	image := addTestImage(t, s)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 40 {
				loaded, err := s.Snapshot(image.ID)
				if err != nil {
					t.Error(err)
					return
				}
				g := newGuest(testGuestPages)
				g.reset(loaded.View)
				g.fill(100, 1)
				n, err := s.Capture(NodeSpec{Kind: nodefile.KindImport, State: []byte("same")}, image, g.dirty, g.page)
				if err != nil {
					t.Error(err)
					return
				}
				s.Unload(n.ID)
				_ = s.Remove(n.ID, false)
			}
		})
	}
	wg.Wait()
}
