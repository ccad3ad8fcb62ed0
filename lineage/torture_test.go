package lineage

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed/sealedtest"
)

// The torture tests run this test binary as a writer that is killed.
const (
	tortureEnv     = "LINEAGE_TEST_TORTURE"      // state directory: write until killed
	tortureSeedEnv = "LINEAGE_TEST_TORTURE_SEED" // of what is written
	tortureStepEnv = "LINEAGE_TEST_TORTURE_STEP" // die before this file system call
)

// tortureWriter captures, removes, re-forms and counts hits for ever. It
// says what it is about to do, and what is done, one line each: a line that was
// read tells something that was durable when it was written.
func tortureWriter(dir string) {
	seed, _ := strconv.ParseUint(os.Getenv(tortureSeedEnv), 10, 64)
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	if step, err := strconv.Atoi(os.Getenv(tortureStepEnv)); err == nil {
		s.fs = (&sealedtest.FailAt{N: step, Die: true}).Wrap(s.fs)
	}
	check := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	fmt.Println("open")
	r := rand.New(rand.NewPCG(seed, 1))
	image := s.Kind(nodefile.KindImage)[0]
	for i := 0; ; i++ {
		nodes := s.List()
		switch op := r.IntN(12); {
		case op >= 10 || i == 1 || i == 2: // siblings that have the same pages
			snapshot, err := s.Snapshot(image.ID)
			check(err)
			g := newGuest(testGuestPages)
			g.reset(snapshot.View)
			for p := range uint64(40 + r.IntN(40)) {
				g.fill(100+p, 1+p)
			}
			g.scribble(r, 1+r.IntN(10))
			n, err := s.Capture(NodeSpec{Kind: nodefile.KindImport, State: fmt.Appendf(nil, "%d %d", seed, i)}, image, g.dirty, g.page)
			check(err)
			fmt.Println("have", n.ID)
		case op < 6:
			parent := nodes[r.IntN(len(nodes))]
			snapshot, err := s.Snapshot(parent.ID)
			check(err)
			g := newGuest(testGuestPages)
			g.reset(snapshot.View)
			g.scribble(r, 1+r.IntN(60))
			kind := []nodefile.Kind{nodefile.KindBase, nodefile.KindFunction}[r.IntN(2)]
			n, err := s.Capture(NodeSpec{Kind: kind, State: fmt.Appendf(nil, "%d %d", seed, i)}, parent, g.dirty, g.page)
			check(err)
			fmt.Println("have", n.ID)
		case op < 7 && len(nodes) > 8:
			n := nodes[r.IntN(len(nodes))]
			if n == image {
				continue
			}
			for _, d := range append([]*Node{n}, descendants(s, n)...) {
				fmt.Println("drop", d.ID)
			}
			check(s.Remove(n.ID, true))
		case op < 8:
			n := nodes[r.IntN(len(nodes))]
			if n != image {
				_, _, err := s.Reform(n.ID, bothForms[r.IntN(2)])
				check(err)
			}
		default:
			nodes[r.IntN(len(nodes))].Hit()
			check(s.FlushHits())
		}
	}
}

func descendants(s *Store, n *Node) (all []*Node) {
	for _, child := range s.Children(n.ID) {
		all = append(all, child)
		all = append(all, descendants(s, child)...)
	}
	return all
}

// tortured is what a killed writer had said.
type tortured struct {
	have, maybe map[string]bool // sealed; perhaps removed
	errors      []string
}

// runTorture starts a writer, and kills it so long after it has sealed so many
// nodes; seals is 0 for after it has opened the store, and negative for after it
// was started. With after 0 it dies of itself.
func runTorture(t *testing.T, dir string, seed uint64, seals int, after time.Duration, env ...string) tortured {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, tortureEnv+"="+dir, tortureSeedEnv+"="+strconv.FormatUint(seed, 10))...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) } // it may be gone
	if after > 0 && seals < 0 {
		kill()
	}
	said := tortured{have: map[string]bool{}, maybe: map[string]bool{}}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, id, _ := strings.Cut(lines.Text(), " ")
		switch {
		case what == "have" && len(id) == 64: // the last line may be cut
			said.have[id] = true
			delete(said.maybe, id)
			if seals--; after > 0 && seals == 0 {
				kill()
			}
		case what == "drop" && len(id) == 64:
			delete(said.have, id)
			said.maybe[id] = true
		case what == "open" && after > 0 && seals == 0:
			kill()
		case what == "error":
			said.errors = append(said.errors, id)
		}
	}
	err = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the writer was not killed: %v, %v", err, said.errors)
	}
	return said
}

// checkTortured opens the store and verifies all of it. It returns how many nodes
// have pages in other nodes' files.
func checkTortured(t *testing.T, dir string, said tortured, known map[string]bool) (shared int) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if d := s.Damaged(); len(d) > 0 {
		t.Fatalf("half-written or orphaned: %v", d)
	}
	noTemps(t, s)
	faults, err := Inspection{s}.Audit(t.Context(), nil, nil)
	if err != nil || len(faults) > 0 {
		t.Fatalf("%v, %v", faults, err)
	}
	for id := range said.have {
		known[id] = true
	}
	for id := range said.maybe {
		delete(known, id)
	}
	for id := range known {
		if s.lookup(id) == nil {
			t.Fatalf("node %s was sealed and is lost", id)
		}
	}
	named := 0
	for _, n := range s.List() {
		known[n.ID] = true // sealed, and the writer died before it could say so
		if l := len(n.file.Load().links); l > 0 {
			named += l
			shared++
		}
	}
	if got := links(t, s); got != named {
		t.Fatalf("%d links, nodes name %d", got, named)
	}
	return shared
}

// A writer is killed hundreds of times, at random, always on the same store:
// nothing sealed is lost, nothing half-written shows.
func TestKilledWriter(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	dir := sealedtest.MemoryDir(t)
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	image := addTestImage(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{image.ID: true}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	sealed, shared := 0, 0
	for i := range rounds {
		// However slow the machine is, many are killed after they have sealed something.
		said := runTorture(t, dir, r.Uint64(), r.IntN(6)-1, time.Duration(1+r.IntN(15_000))*time.Microsecond)
		if len(said.errors) > 0 {
			t.Fatal(said.errors)
		}
		sealed += len(said.have)
		shared += checkTortured(t, dir, said, known)
		if i%20 == 19 { // keep the rounds short
			s := openStore(t, dir)
			for _, n := range s.Children(image.ID) {
				if err := s.Remove(n.ID, true); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
			known = map[string]bool{image.ID: true}
		}
	}
	t.Logf("%d kills, %d nodes sealed", rounds, sealed)
	if sealed == 0 || shared == 0 {
		t.Errorf("%d nodes were sealed in %d rounds, %d times there was one with donors", sealed, rounds, shared)
	}
}

// A writer dies before each of its first file system calls.
func TestWriterDiesAtEveryCall(t *testing.T) {
	calls := 120
	if testing.Short() {
		calls = 15
	}
	shared := 0
	for seed := range uint64(2) {
		for step := range calls / 2 {
			dir := sealedtest.MemoryDir(t)
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			image := addTestImage(t, s)
			s.Close()
			said := runTorture(t, dir, seed, 0, 0, tortureStepEnv+"="+strconv.Itoa(step))
			shared += checkTortured(t, dir, said, map[string]bool{image.ID: true})
		}
	}
	if shared == 0 && !testing.Short() {
		t.Error("no node with donors was written")
	}
}
