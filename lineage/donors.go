package lineage

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sort"
)

// donors say which data pages of a node lie in files of its siblings, its donors.
// The node has a hard link of its own to each donor's file, so these pages are there
// for as long as the node is, whatever becomes of the siblings; see share.go.
//
// The donors section of a node file, all numbers being minimal uvarints unless they
// have a size:
//
//	donors     count; for each, ordinals ascending: ordinal of the link, length of
//	           the file, checksum in its header u32, id 32 bytes
//	runs       count; for each: data pages between the end of the run before and its
//	           first one, its count, donor by its place in the list, and the first
//	           page in that donor's data section
//
// All other data pages lie in the node's own data section, in their order. Checksums
// and digests of all are in the node's own index: what a donor's file says is not
// believed.
type donors struct {
	list  []donor
	runs  []donorRun
	pages uint64 // that lie with donors
}

type donor struct {
	ordinal uint32
	length  uint64
	crc     uint32 // in the header; it covers those of all sections
	id      string // of the node whose file it was
}

// donorRun places data pages [first, first+count) at [page, page+count) of a donor's
// data section.
type donorRun struct {
	first, count uint64
	donor        int
	page         uint64
	before       uint64 // pages of the runs before it
}

const (
	// maxDonors bounds the files that a node needs besides its own.
	maxDonors = 8
	// maxLinks bounds ordinals of links. A node has no more links than donors, but a
	// node that is written anew takes new ones.
	maxLinks = 1 << 10
)

func (d *donors) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(len(d.list)))
	for _, donor := range d.list {
		b = binary.AppendUvarint(b, uint64(donor.ordinal))
		b = binary.AppendUvarint(b, donor.length)
		b = binary.LittleEndian.AppendUint32(b, donor.crc)
		b, _ = hex.AppendDecode(b, []byte(donor.id)) // it is a digest
	}
	b = binary.AppendUvarint(b, uint64(len(d.runs)))
	next := uint64(0)
	for _, r := range d.runs {
		b = binary.AppendUvarint(b, r.first-next)
		b = binary.AppendUvarint(b, r.count)
		b = binary.AppendUvarint(b, uint64(r.donor))
		b = binary.AppendUvarint(b, r.page)
		next = r.first + r.count
	}
	return b
}

// decodeDonors accepts what encode writes for a node of so many data pages: runs that
// ascend, stay inside these and inside the donor's file, and use every donor. Whether
// the donors' files are what they should be is seen when they are opened.
func decodeDonors(b []byte, dataPages uint64) (*donors, error) {
	v := varints{b: b}
	count := v.next("donors")
	if v.err == nil && (count == 0 || count > maxDonors) {
		return nil, fmt.Errorf("%d donors, 1 to %d are possible: %w", count, maxDonors, ErrFormat)
	}
	d := &donors{}
	for i := range count {
		ordinal, length := v.next("donor: link"), v.next("donor: length")
		if v.err != nil {
			return nil, v.err
		}
		const fixed = 4 + 32
		if len(v.b) < fixed {
			return nil, fmt.Errorf("donor %d ends within its id: %w", i, ErrFormat)
		}
		if ordinal >= maxLinks || i > 0 && ordinal <= uint64(d.list[i-1].ordinal) || length < pagesHeaderBytes || length > pagesHeaderBytes+maxBlobPages*PageSize*2 {
			return nil, fmt.Errorf("donor %d is link %d to a file of %d bytes: %w", i, ordinal, length, ErrFormat)
		}
		d.list = append(d.list, donor{
			ordinal: uint32(ordinal), length: length,
			crc: binary.LittleEndian.Uint32(v.b), id: hex.EncodeToString(v.b[4:fixed]),
		})
		v.b = v.b[fixed:]
	}
	const leastRunBytes = 4
	runs := v.next("donors: runs")
	if v.err != nil {
		return nil, v.err
	}
	if runs == 0 || runs > uint64(len(v.b))/leastRunBytes {
		return nil, fmt.Errorf("%d runs of donors' pages in %d bytes: %w", runs, len(v.b), ErrFormat)
	}
	d.runs = make([]donorRun, runs)
	used := make([]bool, count)
	next := uint64(0)
	for i := range d.runs {
		gap, n, from, page := v.next("donor run: gap"), v.next("donor run: count"), v.next("donor run: donor"), v.next("donor run: page")
		if v.err != nil {
			return nil, v.err
		}
		if gap > dataPages-next || n == 0 || n > dataPages-next-gap {
			return nil, fmt.Errorf("donor run %d is data pages %d+%d after %d of %d: %w", i, gap, n, next, dataPages, ErrFormat)
		}
		if from >= count {
			return nil, fmt.Errorf("donor run %d names donor %d of %d: %w", i, from, count, ErrFormat)
		}
		if most := d.list[from].pages(); page > most || n > most-page {
			return nil, fmt.Errorf("donor run %d is pages %d+%d of node %.12s, whose file has %d at most: %w", i, page, n, d.list[from].id, most, ErrFormat)
		}
		d.runs[i] = donorRun{first: next + gap, count: n, donor: int(from), page: page, before: d.pages}
		used[from] = true
		d.pages += n
		next += gap + n
	}
	if len(v.b) != 0 || slices.Contains(used, false) {
		return nil, fmt.Errorf("donors with %d bytes left, each used: %v: %w", len(v.b), used, ErrFormat)
	}
	return d, nil
}

// pages is the most that the donor's file can hold.
func (d *donor) pages() uint64 { return (d.length - pagesHeaderBytes) / PageSize }

// readDonors reads the donors section, of a version that has one, and checks that
// own pages and donors' pages are all there are. Nil means none.
func readDonors(r io.ReaderAt, h *header, dataPages uint64) (*donors, error) {
	if h.version != nodeVersionDonors {
		return nil, nil
	}
	b, err := h.readSection(r, sectionDonors)
	if err != nil {
		return nil, err
	}
	d, err := decodeDonors(b, dataPages)
	if err != nil {
		return nil, err
	}
	if own := (dataPages - d.pages) * PageSize; h.sections[sectionData].length != own {
		return nil, fmt.Errorf("%d of %d data pages lie with donors, the data section has %d bytes: %w",
			d.pages, dataPages, h.sections[sectionData].length, ErrFormat)
	}
	return d, nil
}

// ownPages counts the data pages in the node's own file.
func (x *pageIndex) ownPages() uint64 {
	if x.donors == nil {
		return x.dataPages
	}
	return x.dataPages - x.donors.pages
}

// ownFile stands for a donor where pages lie in the node's own file.
const ownFile = -1

// eachPlace cuts data pages [first, first+count) into those that lie together: n of
// them from at on are pages [page, page+n) of the data section of a donor, or of the
// node's own file.
func (x *pageIndex) eachPlace(first, count uint64, f func(at, n uint64, donor int, page uint64)) {
	var runs []donorRun
	all := uint64(0)
	if x.donors != nil {
		runs, all = x.donors.runs, x.donors.pages
	}
	i := sort.Search(len(runs), func(i int) bool { return runs[i].first+runs[i].count > first })
	for end := first + count; first < end; {
		if i < len(runs) && runs[i].first <= first {
			r := runs[i]
			n := min(end, r.first+r.count) - first
			f(first, n, r.donor, r.page+first-r.first)
			first += n
			i++
			continue
		}
		n, before := end-first, all
		if i < len(runs) {
			n, before = min(n, runs[i].first-first), runs[i].before
		}
		f(first, n, ownFile, first-before)
		first += n
	}
}

// own is the index of what lies in the node's own file, by its place there.
func (x *pageIndex) own() *pageIndex {
	if x.donors == nil {
		return x
	}
	own := &pageIndex{guestPages: x.guestPages, dataPages: x.ownPages(), digests: []Digest{}}
	x.eachPlace(0, x.dataPages, func(at, n uint64, donor int, _ uint64) {
		if donor == ownFile {
			own.sums = append(own.sums, x.sums[at:at+n]...)
			own.digests = append(own.digests, x.digests[at:at+n]...)
		}
	})
	for _, r := range x.runs {
		if r.page == zeroRun {
			continue
		}
		x.eachPlace(r.page, r.count, func(at, n uint64, donor int, page uint64) {
			if donor == ownFile {
				own.runs = append(own.runs, indexRun{first: r.first + at - r.page, count: n, page: page})
			}
		})
	}
	return own
}

// pagesOf counts the pages that lie with a donor.
func (d *donors) pagesOf(donor int) (n uint64) {
	for _, r := range d.runs {
		if r.donor == donor {
			n += r.count
		}
	}
	return n
}

// compareDonor makes sure that what is sealed of a donor's pages is what is sealed of
// the node's: then a page that is right for the one is right for the other. own is the
// index of what lies in the donor's file.
func (x *pageIndex) compareDonor(donor int, own *pageIndex) error {
	for _, r := range x.donors.runs {
		if r.donor != donor {
			continue
		}
		if r.page > own.dataPages || r.count > own.dataPages-r.page {
			return fmt.Errorf("data pages %d+%d are its pages %d+%d, it has %d: %w", r.first, r.count, r.page, r.count, own.dataPages, ErrFormat)
		}
		for i := range r.count {
			if x.sums[r.first+i] != own.sums[r.page+i] || x.digests[r.first+i] != own.digests[r.page+i] {
				return fmt.Errorf("data page %d (%s) is its page %d, which is sealed as another one: digest %v, not %v: %w",
					r.first+i, x.guestRuns(r.first+i, 1), r.page+i, own.digests[r.page+i], x.digests[r.first+i], ErrIdentity)
			}
		}
	}
	return nil
}

// add places data page first of the node at page of a donor.
func (d *donors) add(first, page uint64, donor int) {
	d.pages++
	if n := len(d.runs); n > 0 {
		last := &d.runs[n-1]
		if last.donor == donor && last.first+last.count == first && last.page+last.count == page {
			last.count++
			return
		}
	}
	d.runs = append(d.runs, donorRun{first: first, count: 1, donor: donor, page: page})
}

// sort brings donors and runs, which were added donor by donor, into their order.
func (d *donors) sort() {
	order := make([]int, len(d.list)) // new place to old one
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(d.list[a].ordinal) - int(d.list[b].ordinal) })
	list, place := make([]donor, len(order)), make([]int, len(order))
	for i, old := range order {
		list[i], place[old] = d.list[old], i
	}
	d.list = list
	slices.SortFunc(d.runs, func(a, b donorRun) int { return int(int64(a.first) - int64(b.first)) })
	before := uint64(0)
	for i := range d.runs {
		r := &d.runs[i]
		r.donor, r.before = place[r.donor], before
		before += r.count
	}
}
