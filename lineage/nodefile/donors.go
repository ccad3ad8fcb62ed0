package nodefile

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sort"
)

// Donors say which data pages of a node lie in files of its siblings, its donors.
// The node has a hard link of its own to each donor's file, so these pages are there
// for as long as the node is, whatever becomes of the siblings; see package lineage.
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
type Donors struct {
	List  []Donor
	Runs  []DonorRun
	Pages uint64 // that lie with donors
}

type Donor struct {
	Ordinal uint32
	Length  uint64
	CRC     uint32 // in the header; it covers those of all sections
	ID      string // of the node whose file it was
}

// DonorRun places data pages [first, first+count) at [page, page+count) of a donor's
// data section.
type DonorRun struct {
	First, Count uint64
	Donor        int
	Page         uint64
	before       uint64 // pages of the runs before it
}

const (
	// MaxDonors bounds the files that a node needs besides its own.
	MaxDonors = 8
	// MaxLinks bounds ordinals of links. A node has no more links than donors, but a
	// node that is written anew takes new ones.
	MaxLinks = 1 << 10
)

func (d *Donors) Encode() []byte {
	b := binary.AppendUvarint(nil, uint64(len(d.List)))
	for _, donor := range d.List {
		b = binary.AppendUvarint(b, uint64(donor.Ordinal))
		b = binary.AppendUvarint(b, donor.Length)
		b = binary.LittleEndian.AppendUint32(b, donor.CRC)
		b, _ = hex.AppendDecode(b, []byte(donor.ID)) // it is a digest
	}
	b = binary.AppendUvarint(b, uint64(len(d.Runs)))
	next := uint64(0)
	for _, r := range d.Runs {
		b = binary.AppendUvarint(b, r.First-next)
		b = binary.AppendUvarint(b, r.Count)
		b = binary.AppendUvarint(b, uint64(r.Donor))
		b = binary.AppendUvarint(b, r.Page)
		next = r.First + r.Count
	}
	return b
}

// DecodeDonors accepts what encode writes for a node of so many data pages: runs that
// ascend, stay inside these and inside the donor's file, and use every donor. Whether
// the donors' files are what they should be is seen when they are opened.
func DecodeDonors(b []byte, dataPages uint64) (*Donors, error) {
	v := varints{b: b}
	count := v.next("donors")
	if v.err == nil && (count == 0 || count > MaxDonors) {
		return nil, fmt.Errorf("%d donors, 1 to %d are possible: %w", count, MaxDonors, ErrFormat)
	}
	d := &Donors{}
	for i := range count {
		ordinal, length := v.next("donor: link"), v.next("donor: length")
		if v.err != nil {
			return nil, v.err
		}
		const fixed = 4 + 32
		if len(v.b) < fixed {
			return nil, fmt.Errorf("donor %d ends within its id: %w", i, ErrFormat)
		}
		if ordinal >= MaxLinks || i > 0 && ordinal <= uint64(d.List[i-1].Ordinal) || length < PagesHeaderBytes || length > PagesHeaderBytes+MaxDataPages*PageSize*2 {
			return nil, fmt.Errorf("donor %d is link %d to a file of %d bytes: %w", i, ordinal, length, ErrFormat)
		}
		d.List = append(d.List, Donor{
			Ordinal: uint32(ordinal), Length: length,
			CRC: binary.LittleEndian.Uint32(v.b), ID: hex.EncodeToString(v.b[4:fixed]),
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
	d.Runs = make([]DonorRun, runs)
	used := make([]bool, count)
	next := uint64(0)
	for i := range d.Runs {
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
		if most := d.List[from].Pages(); page > most || n > most-page {
			return nil, fmt.Errorf("donor run %d is pages %d+%d of node %.12s, whose file has %d at most: %w", i, page, n, d.List[from].ID, most, ErrFormat)
		}
		d.Runs[i] = DonorRun{First: next + gap, Count: n, Donor: int(from), Page: page, before: d.Pages}
		used[from] = true
		d.Pages += n
		next += gap + n
	}
	if len(v.b) != 0 || slices.Contains(used, false) {
		return nil, fmt.Errorf("donors with %d bytes left, each used: %v: %w", len(v.b), used, ErrFormat)
	}
	return d, nil
}

// Pages is the most that the donor's file can hold.
func (d *Donor) Pages() uint64 { return (d.Length - PagesHeaderBytes) / PageSize }

// ReadDonors reads the donors section, of a version that has one, and checks that
// own pages and donors' pages are all there are. Nil means none.
func ReadDonors(r io.ReaderAt, h *Header, dataPages uint64) (*Donors, error) {
	if h.Version != VersionDonors {
		return nil, nil
	}
	b, err := h.ReadSection(r, SectionDonors)
	if err != nil {
		return nil, err
	}
	d, err := DecodeDonors(b, dataPages)
	if err != nil {
		return nil, err
	}
	if own := (dataPages - d.Pages) * PageSize; h.Sections[SectionData].Length != own {
		return nil, fmt.Errorf("%d of %d data pages lie with donors, the data section has %d bytes: %w",
			d.Pages, dataPages, h.Sections[SectionData].Length, ErrFormat)
	}
	return d, nil
}

// OwnPages counts the data pages in the node's own file.
func (x *Index) OwnPages() uint64 {
	if x.Donors == nil {
		return x.DataPages
	}
	return x.DataPages - x.Donors.Pages
}

// OwnFile stands for a donor where pages lie in the node's own file.
const OwnFile = -1

// EachPlace cuts data pages [first, first+count) into those that lie together: n of
// them from at on are pages [page, page+n) of the data section of a donor, or of the
// node's own file.
func (x *Index) EachPlace(first, count uint64, f func(at, n uint64, donor int, page uint64)) {
	var runs []DonorRun
	all := uint64(0)
	if x.Donors != nil {
		runs, all = x.Donors.Runs, x.Donors.Pages
	}
	i := sort.Search(len(runs), func(i int) bool { return runs[i].First+runs[i].Count > first })
	for end := first + count; first < end; {
		if i < len(runs) && runs[i].First <= first {
			r := runs[i]
			n := min(end, r.First+r.Count) - first
			f(first, n, r.Donor, r.Page+first-r.First)
			first += n
			i++
			continue
		}
		n, before := end-first, all
		if i < len(runs) {
			n, before = min(n, runs[i].First-first), runs[i].before
		}
		f(first, n, OwnFile, first-before)
		first += n
	}
}

// Own is the index of what lies in the node's own file, by its place there.
func (x *Index) Own() *Index {
	if x.Donors == nil {
		return x
	}
	own := &Index{GuestPages: x.GuestPages, DataPages: x.OwnPages(), Digests: []Digest{}}
	x.EachPlace(0, x.DataPages, func(at, n uint64, donor int, _ uint64) {
		if donor == OwnFile {
			own.Sums = append(own.Sums, x.Sums[at:at+n]...)
			own.Digests = append(own.Digests, x.Digests[at:at+n]...)
		}
	})
	for _, r := range x.Runs {
		if r.Page == ZeroRun {
			continue
		}
		x.EachPlace(r.Page, r.Count, func(at, n uint64, donor int, page uint64) {
			if donor == OwnFile {
				own.Runs = append(own.Runs, IndexRun{First: r.First + at - r.Page, Count: n, Page: page})
			}
		})
	}
	return own
}

// PagesOf counts the pages that lie with a donor.
func (d *Donors) PagesOf(donor int) (n uint64) {
	for _, r := range d.Runs {
		if r.Donor == donor {
			n += r.Count
		}
	}
	return n
}

// CompareDonor makes sure that what is sealed of a donor's pages is what is sealed of
// the node's: then a page that is right for the one is right for the other. own is the
// index of what lies in the donor's file.
func (x *Index) CompareDonor(donor int, own *Index) error {
	for _, r := range x.Donors.Runs {
		if r.Donor != donor {
			continue
		}
		if r.Page > own.DataPages || r.Count > own.DataPages-r.Page {
			return fmt.Errorf("data pages %d+%d are its pages %d+%d, it has %d: %w", r.First, r.Count, r.Page, r.Count, own.DataPages, ErrFormat)
		}
		for i := range r.Count {
			if x.Sums[r.First+i] != own.Sums[r.Page+i] || x.Digests[r.First+i] != own.Digests[r.Page+i] {
				return fmt.Errorf("data page %d (%s) is its page %d, which is sealed as another one: digest %v, not %v: %w",
					r.First+i, x.GuestRuns(r.First+i, 1), r.Page+i, own.Digests[r.Page+i], x.Digests[r.First+i], ErrIdentity)
			}
		}
	}
	return nil
}

// Add places data page first of the node at page of a donor.
func (d *Donors) Add(first, page uint64, donor int) {
	d.Pages++
	if n := len(d.Runs); n > 0 {
		last := &d.Runs[n-1]
		if last.Donor == donor && last.First+last.Count == first && last.Page+last.Count == page {
			last.Count++
			return
		}
	}
	d.Runs = append(d.Runs, DonorRun{First: first, Count: 1, Donor: donor, Page: page})
}

// Sort brings donors and runs, which were added donor by donor, into their order.
func (d *Donors) Sort() {
	order := make([]int, len(d.List)) // new place to old one
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(d.List[a].Ordinal) - int(d.List[b].Ordinal) })
	list, place := make([]Donor, len(order)), make([]int, len(order))
	for i, old := range order {
		list[i], place[old] = d.List[old], i
	}
	d.List = list
	slices.SortFunc(d.Runs, func(a, b DonorRun) int { return int(int64(a.First) - int64(b.First)) })
	before := uint64(0)
	for i := range d.Runs {
		r := &d.Runs[i]
		r.Donor, r.before = place[r.Donor], before
		before += r.Count
	}
}
