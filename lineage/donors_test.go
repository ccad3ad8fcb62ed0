package lineage

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzDonors decodes hostile donors of 100 data pages.
func FuzzDonors(f *testing.F) {
	d := donors{
		list: []donor{{0, 50 * PageSize, 7, strings.Repeat("a", 64)}, {3, 90 * PageSize, 8, strings.Repeat("b", 64)}},
		runs: []donorRun{{first: 0, count: 3, donor: 1, page: 9}, {first: 10, count: 40, donor: 0, page: 2}, {first: 99, count: 1, donor: 1}},
	}
	f.Add(d.encode())
	d.list, d.runs = d.list[1:], []donorRun{{first: 0, count: 100 - 12, page: 0}}
	f.Add(d.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDonors(b, 100)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("not ErrFormat: %v", err)
			}
			return
		}
		if !bytes.Equal(d.encode(), b) {
			t.Fatal("two encodings of the same donors")
		}
		x := &pageIndex{guestPages: 200, dataPages: 100, runs: []indexRun{{0, 60, 0}, {70, 5, zeroRun}, {80, 40, 60}, {150, 20, 3}},
			sums: make([]uint32, 100), digests: make([]Digest, 100), donors: d}
		for i := range x.sums {
			x.sums[i] = uint32(i)
		}
		own := x.own()
		if own.dataPages != x.ownPages() || uint64(len(own.sums)) != own.dataPages || len(own.digests) != len(own.sums) {
			t.Fatalf("%d own pages, %d checksums", own.dataPages, len(own.sums))
		}
		// However it is cut, each page has one place.
		for first := range uint64(100) {
			next := first
			x.eachPlace(first, 100-first, func(at, n uint64, donor int, page uint64) {
				if at != next || n == 0 {
					t.Fatalf("pages %d+%d after %d", at, n, next)
				}
				for i := range n {
					var where int
					var at2 uint64
					x.eachPlace(at+i, 1, func(_, _ uint64, d int, p uint64) { where, at2 = d, p })
					if where != donor || at2 != page+i || donor == ownFile && own.sums[at2] != x.sums[at+i] {
						t.Fatalf("page %d lies at %d, %d and %d, %d", at+i, donor, page+i, where, at2)
					}
				}
				next += n
			})
			if next != 100 {
				t.Fatalf("pages up to %d", next)
			}
		}
	})
}
