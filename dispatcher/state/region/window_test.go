package region

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/state"
	"seuss/guest"
)

// TestWindow: what the host writes to a window its guests read, at whatever right; they neither
// make one, nor write to it, nor remove it, and see another one's never.
func TestWindow(t *testing.T) {
	h := New(Options{})
	defer h.Close()
	all := func(string) Access { return Write }
	s := h.Set("ada", "f", all)
	defer s.Close()
	const name = "orders" + windowMark
	for _, flags := range []uint32{guest.RegionCreate, guest.RegionWrite, guest.RegionWrite | guest.RegionCreate} {
		if _, err := s.Open(name, flags, 4096); !errors.Is(err, unix.EACCES) {
			t.Errorf("opened with %#x: %v", flags, err)
		}
	}
	if _, err := s.Open(name, 0, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("one that there is not: %v", err)
	}
	w, err := h.Window("ada", "orders")
	if err != nil {
		t.Fatal(err)
	}
	copy(w.Memory(), "shown")
	read := func(s *Set) string {
		t.Helper()
		r, err := s.Map(name, false)
		if err != nil {
			t.Fatal(err)
		}
		var p [5]byte
		if _, err := r.Read.File.ReadAt(p[:], 0); err != nil || r.Write != nil {
			t.Fatal(err, r.Write)
		}
		return string(p[:])
	}
	if !w.Idle() {
		t.Error("somebody looks at what nobody has mapped")
	}
	if got := read(&s); got != "shown" || w.Idle() {
		t.Errorf("%q, idle %v", got, w.Idle())
	}
	if _, err := s.Map(name, true); !errors.Is(err, unix.EACCES) {
		t.Errorf("mapped for writing: %v", err)
	}
	if err := s.Remove(name); !errors.Is(err, unix.EACCES) {
		t.Errorf("removed: %v", err)
	}
	if list := h.List("ada", ""); len(list) != 0 {
		t.Errorf("listed: %v", list)
	}
	other, denied := h.Set("bob", "f", all), h.Set("ada", "g", func(string) Access { return None })
	defer other.Close()
	defer denied.Close()
	for _, s := range []*Set{&other, &denied} {
		if got := read(s); got != "\x00\x00\x00\x00\x00" {
			t.Errorf("another one sees %q", got)
		}
	}
	if _, err := denied.Open(name, 0, 0); !errors.Is(err, unix.EACCES) {
		t.Errorf("opened by who may not: %v", err)
	}
	w.Close()
	if got := read(&s); got != "shown" {
		t.Errorf("%q is mapped after the window was closed", got)
	}
}

// TestWindowsOfGuests: what guests map as windows is gone when they are, is a share's and no other
// name's, and takes no more of the host however many shares a guest names that it may not read.
func TestWindowsOfGuests(t *testing.T) {
	h := New(Options{})
	defer h.Close()
	s := h.Set("ada", "f", ByShare(func(share string) Access {
		if share == "orders" {
			return Read
		}
		return None
	}))
	for _, name := range []string{"orders%2Fmore", "or ders", ""} {
		if _, err := s.Map(name+windowMark, false); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%q: %v", name, err)
		}
	}
	names := []string{"orders" + windowMark}
	for n := range 100 {
		names = append(names, fmt.Sprint("x", n, windowMark))
	}
	for _, name := range names {
		if _, err := s.Map(name, false); err != nil {
			t.Fatal(err)
		}
	}
	s.Mapped(names[1:2]) // noWindow alone
	if used := h.Used(); len(s.mapped) != 1 || used.Regions != 1 {
		t.Errorf("%d are mapped, there are %d regions", len(s.mapped), used.Regions)
	}
	if _, err := s.Map(names[0], false); err != nil {
		t.Fatal(err)
	}
	w, err := h.Window("ada", "orders")
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !w.Idle() || h.Used().Regions != 2 {
		t.Errorf("idle %v, %d regions", w.Idle(), h.Used().Regions)
	}
	w.Close()
	if n := h.Used().Regions; n != 1 {
		t.Errorf("%d regions are left", n)
	}
}

// TestWindowWithoutRoom: whose owner has all the regions that he may have begins all the same, and
// reads without a window.
func TestWindowWithoutRoom(t *testing.T) {
	h := New(Options{Owner: Limit{1 << 20, 1}})
	defer h.Close()
	s := h.Set("ada", "f", func(string) Access { return Write })
	defer s.Close()
	if _, err := s.Open("mine", guest.RegionCreate|guest.RegionWrite, 4096); err != nil {
		t.Fatal(err)
	}
	const name = "orders" + windowMark
	for range 2 {
		r, err := s.Map(name, false)
		if err != nil || r.Bytes != state.WindowBytes || r.Write != nil {
			t.Fatal(r, err)
		}
		if s.Mapped([]string{name}); len(s.mapped) != 1 {
			t.Errorf("%d are mapped", len(s.mapped))
		}
	}
}
