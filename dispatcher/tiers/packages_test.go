package tiers

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"seuss/images"
	"seuss/images/layer"
)

// TestPackagesForget: a layer is one that another open image has until the files of all that
// have it are removed, however often each is opened.
func TestPackagesForget(t *testing.T) {
	dir := t.TempDir()
	p := Packages{Store: images.Store{Dir: dir}}
	base, own := layer.Digest{1}, layer.Digest{2}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	open := func(path string, digests ...layer.Digest) {
		t.Helper()
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p.opened(path, digests)
	}
	counts := func(hits, misses uint64) {
		t.Helper()
		if tier := p.Tier(); tier.Hits != hits || tier.Misses != misses {
			t.Fatalf("%d hits and %d misses, want %d and %d", tier.Hits, tier.Misses, hits, misses)
		}
	}
	remove := func(path string) {
		t.Helper()
		failed := errors.New("what f says")
		if err := p.Removing(func() error { return errors.Join(os.Remove(path), failed) }); !errors.Is(err, failed) {
			t.Fatal(err)
		}
	}
	open(one, base)
	open(two, base, own)
	counts(1, 2)
	open(one, base) // by another name
	counts(2, 2)
	remove(one)
	open(one, base) // two has it
	counts(3, 2)
	remove(two)
	open(two, base, own)
	counts(4, 3)
	for range 1_000 {
		remove(one)
		remove(two)
		open(one, base)
		open(two, base, own)
	}
	counts(4+1_000, 3+2_000)
	remove(one)
	remove(two)
	if len(p.open) != 0 || len(p.users) != 0 {
		t.Errorf("%v and %v are kept of what is gone", p.open, p.users)
	}
	if p.Opened(filepath.Join(dir, "none")); len(p.open) != 0 {
		t.Error("what cannot be read is open")
	}
}
