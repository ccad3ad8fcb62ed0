package nodefile

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzDonors decodes hostile donors of 100 data pages.
func FuzzDonors(f *testing.F) {
	d := Donors{
		List: []Donor{{0, 50 * PageSize, 7, strings.Repeat("a", 64)}, {3, 90 * PageSize, 8, strings.Repeat("b", 64)}},
		Runs: []DonorRun{{First: 0, Count: 3, Donor: 1, Page: 9}, {First: 10, Count: 40, Donor: 0, Page: 2}, {First: 99, Count: 1, Donor: 1}},
	}
	f.Add(d.Encode())
	d.List, d.Runs = d.List[1:], []DonorRun{{First: 0, Count: 100 - 12, Page: 0}}
	f.Add(d.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDonors(b, 100)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("not ErrFormat: %v", err)
			}
			return
		}
		if !bytes.Equal(d.Encode(), b) {
			t.Fatal("two encodings of the same donors")
		}
		x := &Index{GuestPages: 200, DataPages: 100, Runs: []IndexRun{{0, 60, 0}, {70, 5, ZeroRun}, {80, 40, 60}, {150, 20, 3}},
			Sums: make([]uint32, 100), Digests: make([]Digest, 100), Donors: d}
		for i := range x.Sums {
			x.Sums[i] = uint32(i)
		}
		own := x.Own()
		if own.DataPages != x.OwnPages() || uint64(len(own.Sums)) != own.DataPages || len(own.Digests) != len(own.Sums) {
			t.Fatalf("%d own pages, %d checksums", own.DataPages, len(own.Sums))
		}
		// However it is cut, each page has one place.
		for first := range uint64(100) {
			next := first
			x.EachPlace(first, 100-first, func(at, n uint64, donor int, page uint64) {
				if at != next || n == 0 {
					t.Fatalf("pages %d+%d after %d", at, n, next)
				}
				for i := range n {
					var where int
					var at2 uint64
					x.EachPlace(at+i, 1, func(_, _ uint64, d int, p uint64) { where, at2 = d, p })
					if where != donor || at2 != page+i || donor == OwnFile && own.Sums[at2] != x.Sums[at+i] {
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
