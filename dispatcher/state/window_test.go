package state

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/guest"
)

// testWindow is memory that the race detector does not know, as that of guests.
type testWindow struct {
	memory []byte
	mapped atomic.Bool // by a guest
	closed atomic.Bool
}

func (w *testWindow) Memory() []byte { return w.memory }
func (w *testWindow) Idle() bool     { return !w.mapped.Load() }
func (w *testWindow) Close()         { w.closed.Store(true) }

// testWindows has the newest window of each share.
type testWindows struct {
	t  *testing.T
	by map[string]*testWindow
}

func (ws *testWindows) open(owner, share string) (Window, error) {
	memory, err := unix.Mmap(-1, 0, WindowBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	ws.t.Cleanup(func() { _ = unix.Munmap(memory) })
	w := &testWindow{memory: memory}
	ws.by[owner+"/"+share] = w
	return w, nil
}

// look reads a window as a guest does; false: it has to ask.
func look(memory []byte, p Place) (value []byte, version uint64, ok bool) {
	if p.At == 0 {
		return nil, 0, false
	}
	words := wordsAt(memory, int(p.At))
	stamp := atomic.LoadUint64(&words[guest.WindowStamp])
	if stamp&1 != 0 || atomic.LoadUint64(&words[guest.WindowID]) != p.ID {
		return nil, 0, false
	}
	size := min(atomic.LoadUint64(&words[guest.WindowSize]), uint64(len(memory))-p.At-slotHead)
	version = atomic.LoadUint64(&words[guest.WindowVersion])
	value = bytes.Clone(memory[p.At+slotHead : p.At+slotHead+size])
	return value, version, atomic.LoadUint64(&words[guest.WindowStamp]) == stamp && atomic.LoadUint64(&words[guest.WindowID]) == p.ID
}

// TestWindow: what was shown is there as it is now, until it is gone, and nothing of what gave
// way to others is taken for it.
func TestWindow(t *testing.T) {
	ws := &testWindows{t, map[string]*testWindow{}}
	s := New(Options{Window: ws.open})
	defer s.Close()
	f := open(t, s, "f", "a:rw")
	want := func(p Place, value string, ok bool) {
		t.Helper()
		if got, _, there := look(ws.by["ada/a"].memory, p); there != ok || ok && string(got) != value {
			t.Errorf("%v %.20q, want %v %.20q", there, got, ok, value)
		}
	}
	set := func(key, value string) {
		t.Helper()
		if _, err := f.Set(key, []byte(value), If{}); err != nil {
			t.Fatal(err)
		}
	}
	if p := f.Show("a/k"); p != (Place{}) {
		t.Errorf("nothing is shown at %v", p)
	}
	set("a/k", "one")
	p := f.Show("a/k")
	if p == (Place{}) || p != f.Show("a/k") {
		t.Fatalf("%v, then %v", p, f.Show("a/k"))
	}
	want(p, "one", true)
	set("a/k", "four")
	want(p, "four", true)
	set("a/k", "4")
	if bytes.Contains(ws.by["ada/a"].memory, []byte("our")) {
		t.Error("the end of what was longer is still there")
	}
	set("a/k", "four")
	if m, err := f.Stat("a/k"); err != nil {
		t.Error(err)
	} else if _, version, _ := look(ws.by["ada/a"].memory, p); version != m.Version {
		t.Errorf("version %d, want %d", version, m.Version)
	}
	set("a/k", string(make([]byte, 5000))) // it has no room there
	want(p, "", false)
	again := f.Show("a/k")
	want(again, string(make([]byte, 5000)), true)
	if err := f.Delete("a/k", If{}); err != nil {
		t.Fatal(err)
	}
	want(again, "", false)
	if bytes.Contains(ws.by["ada/a"].memory, []byte("four")) {
		t.Error("a value that is gone is still there")
	}
	set("a/k", "new")
	want(again, "", false)

	set("a/large", string(make([]byte, maxShown+1)))
	if p := f.Show("a/large"); p != (Place{}) {
		t.Errorf("a large value is shown at %v", p)
	}
	reader := open(t, s, "g", "b:r")
	if p := reader.Show("a/k"); p != (Place{}) {
		t.Errorf("a share that is not its own is shown at %v", p)
	}

	// More than there is room for: each is right or not there, and the newest is.
	places := map[string]Place{}
	for n := range 300 {
		key := fmt.Sprintf("a/n%d", n%100)
		set(key, fmt.Sprint(n, string(make([]byte, 300*(n%100)))))
		places[key] = f.Show(key)
		there := 0
		for key, p := range places {
			got, _, ok := look(ws.by["ada/a"].memory, p)
			if is, _, err := f.Get(key, 0, -1); ok && (err != nil || !bytes.Equal(got, is)) {
				t.Fatalf("%s after %d: %.10q, want %.10q (%v)", key, n, got, is, err)
			}
			if ok {
				there++
			}
		}
		if _, _, ok := look(ws.by["ada/a"].memory, places[key]); !ok || there < min(n, 20) {
			t.Fatalf("%d: there %v, of others %d", n, ok, there)
		}
	}
}

// TestWindowsGiveWay: there are so many windows and no more; those that nobody looks through give
// way, and show nothing then.
func TestWindowsGiveWay(t *testing.T) {
	ws := &testWindows{t, map[string]*testWindow{}}
	s := New(Options{Window: ws.open})
	defer s.Close()
	rights := Rights{}
	for n := range maxOwnerWindows + 2 {
		rights[fmt.Sprint("s", n)] = Write
	}
	f, err := s.Open(Who{Owner: "o", Function: "f", Rights: rights})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	show := func(n int) Place {
		t.Helper()
		key := fmt.Sprintf("s%d/k", n)
		if _, err := f.Set(key, []byte("x"), If{}); err != nil {
			t.Fatal(err)
		}
		return f.Show(key)
	}
	var places []Place
	for n := range maxOwnerWindows {
		places = append(places, show(n))
		ws.by[fmt.Sprint("o/s", n)].mapped.Store(true)
	}
	if p := show(maxOwnerWindows); p != (Place{}) {
		t.Errorf("one too many at %v", p)
	}
	idle := ws.by["o/s3"]
	idle.mapped.Store(false)
	if p := show(maxOwnerWindows); p == (Place{}) {
		t.Error("none gave way")
	}
	if _, _, ok := look(idle.memory, places[3]); ok || !idle.closed.Load() {
		t.Error("the one that gave way shows what was there")
	}
}
