package vmm

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"seuss/guest"
)

func newTestMemory(t testing.TB, ram, image uint64) *Memory {
	t.Helper()
	m, err := NewMemory(ram, image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error("second close:", err)
		}
	})
	return m
}

func TestMemoryShapes(t *testing.T) {
	for _, c := range []struct{ ram, image uint64 }{
		{0, 0}, {2 << 20, 0}, {4<<20 + 4096, 0}, {4 << 20, 1}, {16 << 30, 0}, {8 << 30, 4096}, {^uint64(0) &^ (1<<21 - 1), 4096},
	} {
		if m, err := NewMemory(c.ram, c.image); err == nil {
			m.Close()
			t.Errorf("%d bytes of RAM and %d of image were accepted", c.ram, c.image)
		}
	}
	m := newTestMemory(t, 4<<20, 8192)
	if m.ImageGPA() != 4<<20 || m.Pages() != 1026 || m.ImageBytes() != 8192 {
		t.Errorf("image at %#x, %d pages", m.ImageGPA(), m.Pages())
	}
}

func TestMemorySlice(t *testing.T) {
	m := newTestMemory(t, 4<<20, 4096)
	end := GPA(4<<20 + 4096)
	for _, c := range []struct {
		gpa GPA
		n   uint64
		ok  bool
	}{
		{0, 1, false}, {4096, 1, false}, {0xffff, 1, false}, {0xffff, 2, false}, {0x10000, 1, true}, {end - 1, 1, true}, {end - 1, 2, false}, {end, 0, true},
		{end, 1, false}, {end + 1, 0, false}, {4096, ^uint64(0), false}, {^GPA(0), 2, false}, {^GPA(0), ^uint64(0), false},
	} {
		s, err := m.Slice(c.gpa, c.n)
		if (err == nil) != c.ok || c.ok && uint64(len(s)) != c.n || !c.ok && !errors.Is(err, ErrGuestAddress) {
			t.Errorf("%d bytes at %#x: %d, %v", c.n, c.gpa, len(s), err)
		}
		if c.ok && cap(s) != len(s) {
			t.Errorf("%d bytes at %#x: capacity %d reaches beyond", c.n, c.gpa, cap(s))
		}
	}
}

func TestMemoryMarksWrites(t *testing.T) {
	m := newTestMemory(t, 4<<20, 0)
	if err := m.WriteU64(0x15ffc, 0x1122334455667788); err != nil { // over a page boundary
		t.Fatal(err)
	}
	if v, err := m.ReadU64(0x15ffc); err != nil || v != 0x1122334455667788 {
		t.Errorf("%#x, %v", v, err)
	}
	if err := m.Write(0x20000, make([]byte, 3*pageSize)); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteStruct(0x30000, guest.Boot{Magic: 1}); err != nil {
		t.Fatal(err)
	}
	for _, page := range []uint64{0x15, 0x16, 0x20, 0x21, 0x22, 0x30} {
		if !m.HostWritten().Has(page) {
			t.Errorf("page %#x is not marked", page)
		}
	}
	if n := m.HostWritten().Len(); n != 6 {
		t.Errorf("%d pages are marked", n)
	}
	if err := m.WriteU64(0, 1); !errors.Is(err, ErrGuestAddress) {
		t.Error(err)
	}
}

func TestMemoryMapping(t *testing.T) {
	m := newTestMemory(t, 4<<20, 8192)
	content := bytes.Repeat([]byte("file"), 3*1024)
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := m.MapFile(1024, 2, f, 4096); err != nil {
		t.Fatal(err)
	}
	s, err := m.Slice(m.ImageGPA(), 8192)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s, content[4096:]) {
		t.Error("mapped content differs")
	}
	s[0] = 'X' // copy-on-write: the file stays
	if now, _ := os.ReadFile(path); !bytes.Equal(now, content) {
		t.Fatal("a store reached the file")
	}
	if err := m.Discard(1024, 1); err != nil {
		t.Fatal(err)
	}
	if s[0] != 'f' {
		t.Error("discarding a private page did not show the file again")
	}
	if err := m.MapZero(1024, 2); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s, make([]byte, 8192)) {
		t.Error("not zero")
	}
	runs := iter.Seq2[uint64, uint64](func(yield func(first, count uint64) bool) { _ = yield(2, 3) && yield(1000, 26) })
	if err := m.Populate(runs); err != nil {
		t.Error(err)
	}
	if err := m.Populate(func(yield func(first, count uint64) bool) { yield(1025, 2) }); err == nil {
		t.Error("populated behind the end")
	}
	for _, bad := range []error{m.MapFile(1025, 2, f, 0), m.MapFile(0, 0, f, 0), m.MapFile(0, 1, f, 1), m.MapFile(0, 1, f, -4096),
		m.MapZero(^uint64(0), 2), m.Discard(1026, 1)} {
		if bad == nil {
			t.Error("a range outside memory was mapped")
		} else {
			t.Log(bad)
		}
	}
}

// TestConsoleHostile: nothing that the guest puts into its ring may harm.
func TestConsoleHostile(t *testing.T) {
	m := newTestMemory(t, 4<<20, 0)
	control, err := m.Slice(guest.ControlGPA, guest.ControlSize)
	if err != nil {
		t.Fatal(err)
	}
	const ring = 0x100000
	var got bytes.Buffer
	c := console{mem: m, limit: 100, fn: func(fd uint16, p []byte) { got.Write(p) }}
	set := func(gpa, head uint64) {
		put64(control[guest.ControlConsoleGPA:], gpa)
		put64(control[guest.ControlConsoleHead:], head)
	}
	drain := func(name string, dropped uint64) {
		t.Helper()
		before := c.dropped
		c.drain(control)
		if c.dropped-before != dropped {
			t.Errorf("%s: %d bytes dropped, want %d", name, c.dropped-before, dropped)
		}
		if c.pending(control) || le64(control[guest.ControlConsoleTail:]) != le64(control[guest.ControlConsoleHead:]) {
			t.Errorf("%s: the ring is not empty", name)
		}
	}
	set(ring, 3)
	drain("half a header", 3)
	set(ring, 3+guest.ConsoleBytes+1)
	drain("head too far ahead", guest.ConsoleBytes)
	set(0, c.taken+10)
	drain("ring at page 0", 10)
	set(^uint64(0)-5, c.taken+10)
	drain("ring at the end of the address space", 10)
	set(ring, 2)
	drain("head goes backwards", guest.ConsoleBytes)
	// A record longer than what was written.
	c.taken = 0
	if err := m.Write(ring, []byte{1, 0, 0xff, 0xff, 'a'}); err != nil {
		t.Fatal(err)
	}
	set(ring, 5)
	drain("record too long", 1)
	// A record that wraps, and the limit.
	c.reset()
	c.taken = guest.ConsoleBytes - 2
	if err := m.Write(ring+guest.ConsoleBytes-2, []byte{1, 0}); err != nil {
		t.Fatal(err)
	}
	if err := m.Write(ring, append([]byte{150, 0}, bytes.Repeat([]byte("z"), 150)...)); err != nil {
		t.Fatal(err)
	}
	set(ring, c.taken+4+150)
	drain("over the limit", 50)
	if got.String() != string(bytes.Repeat([]byte("z"), 100)) {
		t.Errorf("passed on %d bytes", got.Len())
	}
	if tail := c.tail(); len(tail) != 150 {
		t.Errorf("%d bytes kept for the crash report", len(tail))
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte{1, 0, 2, 0, 'h', 'i'}, uint64(6), uint64(0))
	f.Fuzz(func(t *testing.T, ring []byte, head, taken uint64) {
		m := newTestMemory(t, 4<<20, 0)
		control, err := m.Slice(guest.ControlGPA, guest.ControlSize)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Write(0x100000, ring[:min(len(ring), guest.ConsoleBytes)]); err != nil {
			t.Fatal(err)
		}
		put64(control[guest.ControlConsoleGPA:], 0x100000)
		put64(control[guest.ControlConsoleHead:], head)
		passed := 0
		c := console{mem: m, limit: 1000, taken: taken, fn: func(fd uint16, p []byte) { passed += len(p) }}
		c.drain(control)
		if passed > 1000 || c.taken != head {
			t.Fatalf("passed on %d bytes, at %d of %d", passed, c.taken, head)
		}
	})
}

// TestMappingsAreNotUndercounted: what prefers huge pages is apart from what does not, on
// either side of the mappings that are in it; the first page begins one in any case.
func TestMappingsAreNotUndercounted(t *testing.T) {
	m, err := NewMemory(8<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, c := range []struct {
		what string
		do   func() error
		want int
	}{
		{"the first pages", func() error { return m.MapZero(0, 4) }, 2},
		{"two in the middle", func() error { return errors.Join(m.MapZero(600, 1), m.MapZero(700, 1)) }, 6},
		{"huge pages around them", func() error { _, err := m.PreferHuge(512, 512); return err }, 8},
		{"one for all of that", func() error { return m.MapZero(512, 512) }, 4},
		{"one for all", func() error { return m.MapZero(0, m.Pages()) }, 1},
	} {
		if err := c.do(); err != nil || m.Mappings() != c.want {
			t.Errorf("%s: %d mappings, want %d (%v)", c.what, m.Mappings(), c.want, err)
		}
	}
}
