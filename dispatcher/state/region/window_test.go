package region

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

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
