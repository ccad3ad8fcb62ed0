package vmm_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm"
)

// track lets the guest store to random pages and compares a tracker's answer
// with the pages whose content differs: nothing may be missing.
func track(t *testing.T, b *bench) {
	tracker, err := b.VM().WriteTracker()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tracker.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := rand.New(rand.NewPCG(1, 2))
	found := dirtytrack.NewPageSet(b.Memory().Pages())
	for round := range 8 {
		pages := randomPages(r)
		for i, p := range pages {
			b.setU64(mailList+vmm.GPA(8*i), p*guest.PageSize+8*r.Uint64N(512))
		}
		b.setU64(mailCount, uint64(len(pages)))
		before := bytes.Clone(b.Memory().Bytes())
		if err := tracker.Arm(); err != nil {
			t.Fatal(err)
		}
		b.Memory().HostWritten().Clear()
		b.check(b.command(cmdStores), vmm.StopIdle)
		found.Clear()
		if err := tracker.Collect(found); err != nil {
			t.Fatal(err)
		}
		found.Union(b.Memory().HostWritten())
		after := b.Memory().Bytes()
		differ, extra := 0, uint64(0)
		for page := range b.Memory().Pages() {
			at := page * guest.PageSize
			if !bytes.Equal(before[at:at+guest.PageSize], after[at:at+guest.PageSize]) {
				differ++
				if !found.Has(page) {
					t.Errorf("%s: round %d: page %#x was written and is not reported", tracker.Name(), round, page)
				}
			}
		}
		extra = found.Len() - uint64(differ)
		if differ == 0 || extra > b.Memory().Pages()/4 {
			t.Errorf("%s: round %d: %d pages differ, %d more reported", tracker.Name(), round, differ, extra)
		}
	}
}

func TestWriteTrackerNeedsALog(t *testing.T) {
	b := newBench(t) // its memory is mapped without
	if _, err := b.VM().WriteTracker(); err == nil {
		t.Error("write tracking of memory that is not logged")
	}
}
