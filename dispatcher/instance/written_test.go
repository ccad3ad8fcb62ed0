package instance

import (
	"testing"

	"seuss/dirtytrack"
	"seuss/vmm/vmmtest"
)

// TestWrittenPages: the pages that the first instance on a new VM writes are private
// ahead on the next ones, which show the snapshot all the same.
func TestWrittenPages(t *testing.T) {
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	const name = "function A"
	s := b.nodes[name]
	fresh := func() *VM {
		t.Helper()
		vm, err := NewVM(b.host, b.img, s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { vm.Close() })
		b.bring(vm, name)
		return vm
	}
	first := fresh()
	want := b.record(first)
	b.invoke(first, name, "simd")
	b.bring(first, name) // what it has written is accounted for
	written := s.written.Load()
	if shares := first.m.Memory().SharesWindow(); shares != (written != nil) {
		t.Fatalf("pages were learned: %v, and can be made private ahead: %v", written != nil, shares)
	}
	second := fresh()
	if written != nil {
		found := dirtytrack.NewPageSet(second.m.Memory().Pages())
		if err := second.plan.tracker.Collect(found); err != nil {
			t.Fatal(err)
		}
		for page := range written.All() {
			if !found.Has(page) || !second.plan.private.Has(page) {
				t.Fatalf("page %#x of %d is not private", page, written.Len())
			}
		}
		if written.Len() < 20 || written.Len() > maxWritten {
			t.Errorf("%d pages", written.Len())
		}
	}
	b.check(second, want, "a VM in which pages were made private ahead")
	b.invoke(second, name, "simd")
	b.bring(second, name)
	if s.written.Load() != written {
		t.Error("what was populated was taken for what was written")
	}
}
