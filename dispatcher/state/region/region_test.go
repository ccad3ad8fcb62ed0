package region

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm"
)

const rw = guest.RegionWrite | guest.RegionCreate

// made opens a region as a guest does, whose memory it waits for.
func made(t *testing.T, s *Set, name string, bytes uint64) error {
	t.Helper()
	r, err := s.Open(name, rw, bytes)
	for more := r.Prepare != nil; more && err == nil; {
		more, err = r.Prepare()
	}
	return err
}

func everything(string) Access { return Write }

func TestLimits(t *testing.T) {
	h := New(Options{All: Limit{10 << 20, 20}, Owner: Limit{6 << 20, 15}, Function: Limit{4 << 20, 10}})
	defer h.Close()
	a, b, c := h.Set("ada", "f", everything), h.Set("ada", "g", everything), h.Set("bob", "f", everything)
	for _, x := range []struct {
		s     *Set
		name  string
		bytes uint64
		errno unix.Errno
		why   string
	}{
		{&a, "vast", 1 << 40, unix.ENOSPC, "the function's regions have 0 of at most 4194304"},
		{&a, "all of them", 1<<64 - 1, unix.ENOSPC, "too much shared memory"},
		{&a, "one", 3 << 20, 0, ""},
		{&a, "two", 2 << 20, unix.ENOSPC, "the function's"},
		{&b, "one", 3 << 20, 0, ""}, // it is the same
		{&b, "two", 4 << 20, unix.ENOSPC, "its owner's"},
		{&b, "two", 3 << 20, 0, ""},
		{&b, "three", 1, unix.ENOSPC, "its owner's"},
		{&c, "one", 4 << 20, 0, ""},
		{&c, "one", 4096, unix.EINVAL, "keeps its size"},
		{&c, "four/five", 4096, unix.EINVAL, "no region's name"},
		{&c, "..", 4096, unix.EINVAL, "no region's name"},
		{&c, strings.Repeat("x", 225), 4096, unix.EINVAL, "no region's name"},
	} {
		err := made(t, x.s, x.name, x.bytes)
		var errno unix.Errno
		errors.As(err, &errno)
		if errno != x.errno || err != nil && !strings.Contains(err.Error(), x.why) {
			t.Errorf("%s, %d bytes: %v, want %v, %q", x.name, x.bytes, err, x.errno, x.why)
		}
	}
	if got := h.Used(); got != (Limit{10 << 20, 3}) {
		t.Errorf("%+v are used", got)
	}
	if list := h.List("ada", "t"); len(list) != 1 || list[0] != (Info{"two", "g", 3 << 20, 0}) {
		t.Errorf("%+v", list)
	}
	small := New(Options{Function: Limit{1 << 20, 3}})
	defer small.Close()
	s := small.Set("ada", "f", everything)
	for n := range 5 {
		if err := made(t, &s, fmt.Sprint(n), 1); (err != nil) != (n >= 3) || err != nil && !errors.Is(err, unix.EDQUOT) {
			t.Errorf("region %d: %v", n, err)
		}
	}
}

// TestRemoved: one that is removed stays with whoever maps it, and counts, until the last
// has let go; the name is another's meanwhile.
func TestRemoved(t *testing.T) {
	h := New(Options{})
	defer h.Close()
	a, b := h.Set("ada", "f", everything), h.Set("ada", "f", everything)
	if err := made(t, &a, "x", 8192); err != nil {
		t.Fatal(err)
	}
	var shown [2]vmm.Region
	for i, s := range []*Set{&a, &b} {
		var err error
		if shown[i], err = s.Map("x", true); err != nil {
			t.Fatal(err)
		}
		s.Mapped([]string{"x"})
	}
	if shown[0].Write != shown[1].Write || shown[0].Prepare != nil {
		t.Error("two sets have not the same memory, or it is not ready")
	}
	if err := a.Remove("x"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open("x", 0, 0); !errors.Is(err, ErrNotFound) || !errors.Is(err, unix.ENOENT) {
		t.Errorf("what is removed: %v", err)
	}
	if again, err := b.Map("x", true); err != nil || again.Write != shown[1].Write {
		t.Errorf("what is mapped, mapped again: %v", err)
	}
	c := h.Set("ada", "f", everything)
	if err := made(t, &c, "x", 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open("x", 0, 0); !errors.Is(err, unix.ESTALE) {
		t.Errorf("another one of the name, with the old one mapped: %v", err)
	}
	a.Close()
	if got := h.Used(); got != (Limit{8192 + 4096, 2}) {
		t.Errorf("%+v are used", got)
	}
	b.Mapped(nil)
	if got := h.Used(); got != (Limit{4096, 1}) {
		t.Errorf("%+v are used", got)
	}
	if _, err := shown[0].Write.File.Stat(); err == nil {
		t.Error("its file is open yet")
	}
	if r, err := b.Open("x", 0, 0); err != nil || r.Bytes != 4096 {
		t.Errorf("the new one: %v", err)
	}
}

func TestRights(t *testing.T) {
	h := New(Options{})
	defer h.Close()
	own := h.Set("ada", "f", everything)
	if err := made(t, &own, "models", 4096); err != nil {
		t.Fatal(err)
	}
	shares := ByShare(func(share string) Access { return map[string]Access{"orders": Write, "models": Read}[share] })
	for name, want := range map[string]Access{"orders%2Ftoday": Write, "models%2F%2Fx": Read, "secret%2Fx": None, "%2Fx": None, "common": Write} {
		if got := shares(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	s := h.Set("ada", "g", func(name string) Access { return map[string]Access{"models": Read, "orders": Write}[name] })
	if r, err := s.Open("models", 0, 0); err != nil || r.Read == nil || r.Write != nil {
		t.Errorf("%+v, %v", r, err)
	}
	for name, do := range map[string]func() error{
		"write": func() error { _, err := s.Open("models", guest.RegionWrite, 0); return err },
		"map":   func() error { _, err := s.Map("models", true); return err },
		"sync":  func() error { return s.Sync("models", 0, 1) },
		"kill":  func() error { return s.Remove("models") },
		"other": func() error { _, err := s.Open("secret", 0, 0); return err },
		"make":  func() error { return made(t, &s, "secret", 4096) },
	} {
		if err := do(); !errors.Is(err, ErrDenied) || !errors.Is(err, unix.EACCES) {
			t.Errorf("%s: %v", name, err)
		}
	}
	common := h.Set("ada", "h", nil)
	if err := made(t, &common, "orders%2Ftoday", 4096); !errors.Is(err, ErrDenied) {
		t.Errorf("a share that no deployment names: %v", err)
	}
	if err := made(t, &common, "common", 4096); err != nil {
		t.Error(err)
	}
	bob := h.Set("bob", "f", everything)
	if _, err := bob.Open("models", 0, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("another owner's: %v", err)
	}
	r, err := own.Map("models", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Mmap(int(r.Read.File.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EACCES) {
		t.Errorf("what is lent for reading is mapped for writing: %v", err)
	}
}

// TestLeaving: memory that is given back counts no longer, and no other is taken until it is:
// there is never more than there may be.
func TestLeaving(t *testing.T) {
	const size = 4 << 20
	h := New(Options{All: Limit{size, 9}, Function: Limit{size, 9}, Owner: Limit{size, 9}})
	s := h.Set("ada", "f", everything)
	if err := made(t, &s, "x", size); err != nil {
		t.Fatal(err)
	}
	x := h.regions[key{"ada", "x"}]
	stand := &Region{read: x.read, write: x.write} // in the place of one that takes long
	h.leaving = []*Region{stand}
	if err := s.Remove("x"); err != nil {
		t.Fatal(err)
	}
	y, err := s.Open("y", rw, size)
	if err != nil {
		t.Fatal("what nobody has any more counts: ", err)
	}
	for range 3 {
		if more, err := y.Prepare(); !more || err != nil || h.regions[key{"ada", "y"}].filled != 0 {
			t.Errorf("memory is taken before other is given back: %v, %v", more, err)
		}
	}
	if _, err := x.write.File.Stat(); err != nil {
		t.Error("it has not waited for its turn: ", err)
	}
	h.leaving = []*Region{x}
	h.work.Go(h.empty)
	for more := true; more && err == nil; {
		more, err = y.Prepare()
	}
	if err != nil || h.regions[key{"ada", "y"}].filled != size {
		t.Error(err)
	}
	if _, err := x.write.File.Stat(); err == nil {
		t.Error("its file is open yet")
	}
	h.Close()
}

// TestNoMemory: a region that cannot have its memory is refused, and is not there.
func TestNoMemory(t *testing.T) {
	h := New(Options{})
	defer h.Close()
	s := h.Set("ada", "f", everything)
	r, err := s.Open("x", rw, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	if more, err := r.Prepare(); err != nil || !more {
		t.Fatalf("%v, %v", more, err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Write.File.Close()
	r.Write.File = full // no more can be had
	if _, err := r.Prepare(); err == nil || !strings.Contains(err.Error(), "no memory for all of its 8388608 bytes") {
		t.Errorf("%v", err)
	}
	if got := h.Used(); got != (Limit{}) {
		t.Errorf("%+v are used", got)
	}
	if _, err := s.Open("x", 0, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestMany: 1, 100 and 10,000 regions, as far as the process may have files.
func TestMany(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 100, 10_000} {
		if uint64(2*n+100) > limit.Cur {
			t.Logf("%d regions take more than the %d files that this process may have", n, limit.Cur)
			n = int(limit.Cur)/2 - 100
		}
		l := Limit{1 << 40, n}
		h := New(Options{l, l, l})
		s := h.Set("ada", "f", everything)
		for k := range n {
			if err := made(t, &s, fmt.Sprint(k), 4096); err != nil {
				t.Fatal(err)
			}
		}
		if err := made(t, &s, "more", 4096); !errors.Is(err, ErrQuota) {
			t.Errorf("one more than %d: %v", n, err)
		}
		if list := h.List("ada", ""); len(list) != n {
			t.Errorf("%d are listed", len(list))
		}
		h.Close()
	}
}

// TestTogether: instances that make, map and remove the same regions at the same time
// leave nothing behind.
func TestTogether(t *testing.T) {
	h := New(Options{})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			s := h.Set("ada", "f", everything)
			defer s.Close()
			for range 300 {
				name := fmt.Sprint(r.IntN(4))
				switch r.IntN(4) {
				case 0:
					if x, err := s.Open(name, rw, 4096); err == nil && x.Prepare != nil {
						_, _ = x.Prepare() // another one may have removed it
					}
				case 1:
					_ = s.Remove(name)
				default:
					if x, err := s.Map(name, true); err == nil {
						if x.Bytes != 4096 {
							t.Errorf("%d bytes", x.Bytes)
						}
						s.Mapped([]string{name})
					}
				}
			}
		})
	}
	wg.Wait()
	h.Close()
	if got := h.Used(); got != (Limit{}) {
		t.Errorf("%+v are used", got)
	}
}

// TestChanged: what was written since is found, and nothing else.
func TestChanged(t *testing.T) {
	h := New(Options{})
	defer h.Close()
	r, err := h.Get(t.Context(), "ada", "x", 10*ChunkBytes+5000)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Put(r)
	var m Marks
	found := func() (list []int) {
		t.Helper()
		for n := range chunksOf(r) {
			content, changed, err := m.Chunk(r, n)
			if err != nil {
				t.Fatal(err)
			}
			there := make([]byte, len(content))
			if _, err := r.ReadAt(there, int64(n)*ChunkBytes); err != nil || !bytes.Equal(there, content) || len(content) != min(ChunkBytes, int(r.Bytes)-n*ChunkBytes) {
				t.Errorf("chunk %d is not what it holds (%v)", n, err)
			}
			if changed {
				list = append(list, n)
			}
		}
		return list
	}
	write := func(at int64) {
		if _, err := r.WriteAt([]byte{1, byte(at)}, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		at   []int64
		want []int
	}{{nil, nil}, {[]int64{7, 3*ChunkBytes - 1, 10*ChunkBytes + 4998}, []int{0, 2, 3, 10}}, {nil, nil}, {[]int64{7}, nil}, {[]int64{9}, []int{0}}} {
		for _, at := range c.at {
			write(at)
		}
		if got := found(); !slices.Equal(got, c.want) {
			t.Errorf("after stores at %v: chunks %v, want %v", c.at, got, c.want)
		}
	}
	if _, err := r.WriteAt([]byte{1, 2}, int64(r.Bytes)-1); err == nil {
		t.Error("a store behind its end")
	}
}

// BenchmarkFindChunks compares ways to find which chunks of 64 KiB of 100 MB were written:
// a keyed 64-bit sum, a digest, a copy of all of it.
func BenchmarkFindChunks(b *testing.B) {
	now := make([]byte, 100<<20)
	rand.NewChaCha8([32]byte{}).Read(now)
	before := slices.Clone(now)
	seed := maphash.MakeSeed()
	for _, way := range []struct {
		name string
		look func(at int)
	}{
		{"sum", func(at int) { maphash.Bytes(seed, now[at:at+ChunkBytes]) }},
		{"sha256", func(at int) { sha256.Sum256(now[at : at+ChunkBytes]) }},
		{"copy", func(at int) { bytes.Equal(now[at:at+ChunkBytes], before[at:at+ChunkBytes]) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.SetBytes(int64(len(now)))
			for b.Loop() {
				for at := 0; at+ChunkBytes <= len(now); at += ChunkBytes {
					way.look(at)
				}
			}
		})
	}
}
