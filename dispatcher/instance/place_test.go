package instance

import (
	"bytes"
	"slices"
	"testing"

	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

func TestPartStretches(t *testing.T) {
	const s = stretchPages
	for _, c := range []struct{ run, want []programRun }{
		{[]programRun{{2 * s, 3 * s, 7}}, nil},
		{[]programRun{{2 * s, 2*s + 5, 7}}, []programRun{{4 * s, 5, 7 + 2*s}}},
		{[]programRun{{2*s - 3, 2*s + 5, 7}}, []programRun{{2*s - 3, 3, 7}, {4 * s, 2, 10 + 2*s}}},
		{[]programRun{{2*s + 1, 10, 7}}, []programRun{{2*s + 1, 10, 7}}},
		{[]programRun{{2*s + 1, s, 7}}, []programRun{{2*s + 1, s, 7}}},
	} {
		got, total := partStretches(c.run)
		var want uint64
		for _, r := range c.want {
			want += r.count
		}
		if !slices.Equal(got, c.want) || total != want {
			t.Errorf("%v: %v, %d pages, want %v", c.run, got, total, c.want)
		}
	}
}

// TestPlaceProgram: whatever way a program's pages take into memory, they are there, and
// the monitor knows that it wrote what it copied.
func TestPlaceProgram(t *testing.T) {
	const low = guest.ProgramGPA / lineage.PageSize
	content := func(p []byte, r programRun) error {
		for i := range p {
			p[i] = byte(r.filePage) + byte(i/lineage.PageSize) + 1
		}
		return nil
	}
	for what, c := range map[string]struct {
		runs   []programRun
		copied uint64
	}{
		"small":  {[]programRun{{low, 100, 0}}, 0},
		"medium": {[]programRun{{low, 600, 0}, {low + 600, 40, 900}}, 640},
		"large":  {[]programRun{{low, 5000, 0}, {low + 5000, 40, 9000}}, 5000%stretchPages + 40},
	} {
		mem, err := vmm.NewMemory(64<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		placed, err := placeProgram(mem, c.runs, content)
		if err != nil {
			t.Fatal(what, err)
		}
		if offered, _ := mem.PreferHuge(low, 1); !offered {
			c.copied = 0 // then it stays as it is mapped
		}
		var n uint64
		for _, r := range placed {
			n += r.count
			want := make([]byte, lineage.PageSize*r.count)
			content(want, r)
			if !bytes.Equal(mem.Bytes()[r.first*lineage.PageSize:][:len(want)], want) {
				t.Errorf("%s: pages %d+%d have other content", what, r.first, r.count)
			}
		}
		if n != c.copied || mem.HostWritten().Len() != n {
			t.Errorf("%s: %d pages were copied, of %d the monitor knows, want %d", what, n, mem.HostWritten().Len(), c.copied)
		}
		if err := mem.Close(); err != nil {
			t.Error(err)
		}
	}
}
