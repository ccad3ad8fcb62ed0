package process

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"seuss/guest"
	"seuss/vmm/platform"
)

// TestFarWindowOfTheNext: wherever a kick or an error ends the work on the far window, the
// next instance, which has no list, reaches nothing of it.
func TestFarWindowOfTheNext(t *testing.T) {
	v := newVictim(t, testPlatform(t))
	m := v.VM().(*VM).mem
	open := func() (lines []string) {
		t.Helper()
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", v.proc().pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(maps)) {
			var from, to uint64
			var prot string
			if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &prot); err != nil {
				t.Fatal(err)
			}
			if from >= guest.FarBase && from < guest.FarBase+guest.FarBytes && !strings.HasPrefix(prot, "---") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	wants := func(r ...platform.FarRange) {
		t.Helper()
		if err := m.MapFar(r, r == nil); err != nil {
			t.Fatal(err)
		}
	}
	ends := func(want error, stop func() bool) {
		t.Helper()
		if err := m.flushUnless(stop); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	atOnce := func() bool { return true }
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	first, second := platform.FarRange{First: farFirst + 16, RAM: 0x580, Count: 2}, platform.FarRange{First: farFirst + 64, RAM: 0x590, Count: 2}
	for _, c := range []struct {
		name string
		end  func()
	}{
		{"of pages that are to be copied", func() { m.far.unclaimed = true; ends(errKicked, atOnce) }},
		{"of a longer list, which fails", func() {
			wants(first, second)
			m.file, closed = closed, m.file // a mapping that cannot be made
			defer func() { m.file, closed = closed, m.file }()
			if m.flush() == nil {
				t.Fatal("a file that is closed was mapped")
			}
		}},
		{"of another mapping", func() {
			wants(second)
			ends(errKicked, atOnce)
			ends(errKicked, atOnce)
		}},
		{"of no work", func() { ends(nil, atOnce) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			wants(first)
			if err := m.flush(); err != nil {
				t.Fatal(err)
			}
			if len(open()) != 1 {
				t.Fatalf("mapped: %q", open())
			}
			c.end()
			wants()
			if err := m.flush(); err != nil {
				t.Fatal(err)
			}
			if left := open(); len(left) > 0 {
				t.Errorf("the next instance reaches %q", left)
			}
		})
	}
}
