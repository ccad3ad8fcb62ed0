package lineage

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// Siblings that load the same library each by itself have the same pages. A node that
// is stored as pages has those that are in a sibling's file already not once more in
// its own: its file says where they lie (see donors), and it gets a hard link of its
// own to that file. So the file system counts who needs a file's pages: removing the
// sibling takes its name away and nothing else, and there is no second parent in the
// tree. Where anything of this fails, the node is stored whole.

// sharer finds pages of a new node in files of its siblings, and keeps its links to them.
type sharer struct{ *Store }

// leastShared is how many pages a donor must save: a link, and a file to open and
// map for each load, against 128 KiB.
const leastShared = 32

// shareable reports whether pages of a node are looked for with its siblings.
func (s sharer) shareable(w nodeWriter, info *nodefile.Info) bool {
	return w.diffs == nil && info.Kind != nodefile.KindImage && info.DeltaBytes >= leastShared*nodefile.PageSize
}

// share makes of a node file of whole pages, whose data is written, one that leaves
// out what siblings have. It returns w where that does not pay, or fails.
func (s sharer) share(w nodeWriter, info *nodefile.Info, x *nodefile.Index) nodeWriter {
	if !s.shareable(w, info) {
		return w
	}
	offers := s.findShared(info, x, leastShared)
	if len(offers) == 0 {
		return w
	}
	whole, err := os.Open(w.Name())
	if err != nil {
		return w
	}
	defer whole.Close()
	shared := nodeWriter{links: &madeLinks{s: s.Store, id: info.ID}}
	d := &nodefile.Donors{}
	for _, o := range offers[:min(len(offers), nodefile.MaxDonors)] {
		shared.takeOffer(d, o, whole, x)
	}
	if len(d.List) == 0 {
		return w
	}
	d.Sort()
	if err := s.writeOwn(&shared, whole, x, d); err != nil {
		shared.discard()
		return w
	}
	x.Donors = d
	w.discard()
	return shared
}

// takeOffer links a donor's file and takes those of its pages that are what they seem.
// A donor must be all that loading asks of it: a bad one spoils no new node.
func (w *nodeWriter) takeOffer(d *nodefile.Donors, o offer, whole *os.File, x *nodefile.Index) {
	ordinal, err := w.links.add(o.file.path)
	if err != nil {
		return // gone, of another file system, or with as many names as it can have
	}
	path := w.links.s.linkPath(w.links.id, ordinal)
	f, h, err := openDonorFile(path, &o.file.Donor)
	if err == nil {
		same := sealedAlike(f, h, &o.file.Donor, o.hits, x)
		if same, err = samePages(whole, f, h, same); err == nil && len(same) >= leastShared {
			donor := o.file.Donor
			donor.Ordinal = ordinal
			d.List = append(d.List, donor)
			for _, hit := range same {
				d.Add(hit.page, hit.at, len(d.List)-1)
			}
			f.Close()
			return
		}
		f.Close()
	}
	w.links.drop(ordinal)
}

// sealedAlike returns the hits for which the donor's file has the same checksum and
// digest.
func sealedAlike(f *os.File, h *nodefile.Header, d *nodefile.Donor, hits []hit, x *nodefile.Index) (same []hit) {
	index, err := readDonorIndex(f, h, d)
	if err != nil {
		return nil
	}
	own := index.Own()
	for _, hit := range hits {
		if hit.at < own.DataPages && own.Sums[hit.at] == x.Sums[hit.page] && own.Digests[hit.at] == x.Digests[hit.page] {
			same = append(same, hit)
		}
	}
	return same
}

// samePages compares pages of a node file in the making with those of a donor, byte by
// byte, and returns the hits that are right.
func samePages(whole, donor *os.File, h *nodefile.Header, hits []hit) (same []hit, err error) {
	var a, b [pages.BatchPages * nodefile.PageSize]byte
	data := h.Sections[nodefile.SectionData]
	for len(hits) > 0 {
		n := 1
		for n < len(hits) && n < pages.BatchPages && hits[n].page == hits[0].page+uint64(n) && hits[n].at == hits[0].at+uint64(n) {
			n++
		}
		size := n * nodefile.PageSize
		if end := hits[n-1].at*nodefile.PageSize + nodefile.PageSize; end > data.Length {
			return nil, fmt.Errorf("page %d is beyond a data section of %d bytes: %w", hits[n-1].at, data.Length, nodefile.ErrFormat)
		}
		if _, err := whole.ReadAt(a[:size], int64(nodefile.PagesHeaderBytes+hits[0].page*nodefile.PageSize)); err != nil {
			return nil, err
		}
		if _, err := donor.ReadAt(b[:size], int64(data.Offset+hits[0].at*nodefile.PageSize)); err != nil {
			return nil, err
		}
		for i := range n {
			if at := i * nodefile.PageSize; bytes.Equal(a[at:at+nodefile.PageSize], b[at:at+nodefile.PageSize]) {
				same = append(same, hits[i])
			}
		}
		hits = hits[n:]
	}
	return same, nil
}

// writeOwn makes the links durable and copies the pages that are left into a file of
// their own.
func (s sharer) writeOwn(w *nodeWriter, whole *os.File, x *nodefile.Index, d *nodefile.Donors) error {
	if err := s.fs.SyncDir(s.path(nodesDir)); err != nil {
		return err
	}
	own, err := sealer{s.Store}.newNodeWriter(s.path(nodesDir), nil)
	if err != nil {
		return err
	}
	w.Pending, w.donors = own.Pending, d
	left := nodefile.Index{DataPages: x.DataPages, Donors: d}
	left.EachPlace(0, x.DataPages, func(at, count uint64, donor int, _ uint64) {
		if err == nil && donor == nodefile.OwnFile {
			err = pages.ReadPages(whole, nodefile.PagesHeaderBytes, at, count, func(_ uint64, data []byte) error {
				_, err := w.Write(data)
				return err
			})
		}
	})
	return err
}

// madeLinks are links that were made for a node file that is not published yet.
type madeLinks struct {
	s        *Store
	id       string
	ordinals []uint32
}

func (m *madeLinks) add(path string) (uint32, error) {
	ordinal, err := sharer{m.s}.addLink(path, m.id)
	if err == nil {
		m.ordinals = append(m.ordinals, ordinal)
	}
	return ordinal, err
}

// drop takes one away.
func (m *madeLinks) drop(ordinal uint32) {
	m.ordinals = slices.DeleteFunc(m.ordinals, func(o uint32) bool { return o == ordinal })
	sharer{m.s}.removeLinks(m.id, []link{{ordinal: ordinal}})
}

// discard takes all of them away, unless they were kept.
func (m *madeLinks) discard() {
	for len(m.ordinals) > 0 {
		m.drop(m.ordinals[0])
	}
}

// keep leaves them to the node, which is published.
func (m *madeLinks) keep() { m.ordinals = nil }
