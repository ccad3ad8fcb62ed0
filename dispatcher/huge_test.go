package dispatcher

import (
	"testing"

	"seuss/lineage"
	"seuss/lineage/pages"
)

// TestHugePages: images in huge pages change nothing that a machine shows. Where the
// host gives none, there are no copies.
func TestHugePages(t *testing.T) {
	b := newColdBench(t)
	before := pages.HugeBytes()
	d := b.open(Options{HugePages: true, Verify: lineage.VerifyDemand})
	defer b.close(d)
	for range 3 {
		if err := b.invoke(d, `"1", "77"`); err != nil {
			t.Fatal(err)
		}
	}
	b.sameMemory(d)
	root := d.store.Kind(lineage.KindImage)[0]
	if copied := pages.HugeBytes() > before; copied != pages.HugePagesOffered() {
		t.Errorf("copied: %v, although the host offers huge pages: %v", copied, !copied)
	}
	if d.Stats().HugePageBytes != pages.HugeBytes() {
		t.Error("the statistics say something else")
	}
	if err := root.Blob().Verify(); err != nil {
		t.Error(err)
	}
	for page := range root.Blob().Pages() {
		if err := root.Blob().Check(page, 1); err != nil {
			t.Fatal(err)
		}
	}
}
