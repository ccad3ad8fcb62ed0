package nodefile

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"
)

// FuzzCacheEntry: what is decoded is valid metadata, and encodes to the same again.
func FuzzCacheEntry(f *testing.F) {
	id, other := digest("x"), digest("y")
	full := &Metadata{InheritCPU: true, Info: Info{
		ID: id, Parent: other, Kind: KindArgument, ImageDigest: other, Root: id, ABIVersion: 2, Created: time.Unix(-5, 7).UTC(),
		Key: Key{Function: "f", Handler: "main.handler", CodeDigest: other, Imports: []string{"json", "re"}, Lazy: true, NextKey: "q",
			Args: []Binding{{"k", other, "v"}, {"l", id, ""}}},
		CPUFeatures: CPUFeatures{"cpu", []string{"a", "b"}}, GuestPages: 2000, DeltaPages: 12, DeltaBytes: 11 * PageSize, SharedPages: 77,
		CaptureCost: 3, SavedTime: 4, Purity: Purity{1, 2, 3, true, []string{"why"}},
	}}
	got, err := DecodeEntry(id, EncodeEntry(full))
	if err != nil || !reflect.DeepEqual(got, full) {
		f.Fatalf("got %+v, %v, want %+v", got, err, full)
	}
	f.Add(EncodeEntry(full))
	f.Add(EncodeEntry(&Metadata{Info: Info{Kind: KindImage, ImageDigest: other, Root: id, Created: time.Unix(0, 0).UTC()}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeEntry(id, b)
		if err != nil {
			return
		}
		again, err := DecodeEntry(id, EncodeEntry(m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("got %+v, %v, want %+v", again, err, m)
		}
	})
}

func FuzzCache(f *testing.F) {
	id := digest("x")
	f.Add(EncodeCache([]CacheEntry{{ID: id, Meta: []byte("{}"), Stamp: Stamp{1, 2, 3, 4}}}))
	f.Add(EncodeCache(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for range 2 {
			entries, err := DecodeCache(b)
			if err == nil {
				if again, err := DecodeCache(EncodeCache(slices.Collect(maps.Values(entries)))); err != nil || len(again) != len(entries) {
					t.Fatalf("%d entries, then %d, %v", len(entries), len(again), err)
				}
			}
			if len(b) < CacheHeaderBytes {
				return
			}
			b = bytes.Clone(b) // again with the right checksum
			for i := range 4 {
				b[12+i] = byte(Checksum(b[16:]) >> (8 * i))
			}
		}
	})
}

func digest(s string) string { return PageDigest([]byte(s)).String() }
