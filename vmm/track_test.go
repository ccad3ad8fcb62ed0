package vmm_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform/kvm"
)

// track lets the guest store to random pages and compares a tracker's answer
// with the pages whose content differs: nothing may be missing.
func track(t *testing.T, b *bench, ring bool) {
	vm := b.VM().(*kvm.VM)
	open := vm.DirtyLog
	if ring {
		open = vm.DirtyRing
	}
	tracker, err := open()
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

func TestDirtyTrackersRefuse(t *testing.T) {
	b := newBench(t) // its memory is mapped without dirty logging
	vm, isKVM := b.VM().(*kvm.VM)
	if !isKVM {
		t.Skip("only KVM has write tracking of its own")
	}
	if _, err := vm.DirtyLog(); err == nil {
		t.Error("a dirty log of memory that is mapped without one")
	}
	if _, err := vm.DirtyRing(); err == nil {
		t.Error("a dirty ring of a platform that was opened without one")
	}
	for _, slot := range []uint32{0, 5} {
		if _, err := dirtytrack.NewDirtyLog(vm.File(), slot, b.Memory().Pages()); !errors.Is(err, unix.ENOENT) {
			t.Errorf("slot %d: %v", slot, err)
		}
	}
}
