package lineage

import (
	"errors"
	"fmt"
	"os"
)

// openPages maps the pages of a node that is stored as pages, with those of its
// donors. It owns f.
func (s *Store) openPages(f *os.File, h *header, x *pageIndex, id string, verify Verify) (own *Blob, donors []*Blob, err error) {
	if own, err = s.openBlob(f, h, x.own(), id, verify); err != nil || x.donors == nil {
		return own, nil, err
	}
	for i := range x.donors.list {
		d := &x.donors.list[i]
		blob, err := s.openDonor(s.linkPath(id, d.ordinal), d, verify)
		if err == nil {
			err = x.compareDonor(i, blob.index)
		}
		if err != nil {
			return nil, nil, errLink(d, x.donors.pagesOf(i), err)
		}
		donors = append(donors, blob)
	}
	return own, donors, nil
}

// openBlob maps the data section of a node file. It owns f.
func (s *Store) openBlob(f *os.File, h *header, own *pageIndex, id string, verify Verify) (*Blob, error) {
	file, err := fileIDOf(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	if b := s.blobs.get(file); b != nil {
		f.Close()
		return b, nil
	}
	b, err := newBlobAs(verify, "of node "+id, f, int64(h.sections[sectionData].offset), own)
	if err != nil {
		return nil, err
	}
	return s.blobs.add(file, b), nil
}

// openDonorFile opens a link and makes sure that it is the donor's file.
func openDonorFile(path string, d *donor) (*os.File, *header, error) {
	f, h, err := openNodeFile(path)
	if err != nil {
		return nil, nil, err
	}
	if h.total != d.length || h.crc != d.crc || h.form != FormPages {
		f.Close()
		return nil, nil, fmt.Errorf("%s is another file, of %d bytes in the form %v with the header checksum %#08x, not of %d bytes with %#08x: %w",
			path, h.total, h.form, h.crc, d.length, d.crc, ErrIdentity)
	}
	return f, h, nil
}

// openDonor maps the data section of a donor's file.
func (s *Store) openDonor(path string, d *donor, verify Verify) (*Blob, error) {
	f, h, err := openDonorFile(path, d)
	if err != nil {
		return nil, err
	}
	x, err := readDonorIndex(f, h, d)
	if err != nil {
		f.Close()
		return nil, err
	}
	return s.openBlob(f, h, x.own(), d.id, verify)
}

func readDonorIndex(f *os.File, h *header, d *donor) (*pageIndex, error) {
	m, err := readInfo(f, h, d.id)
	if err != nil {
		return nil, err
	}
	if m.Kind == KindImage {
		return nil, fmt.Errorf("an image node has no pages in its file: %w", ErrFormat)
	}
	return readIndex(f, h, &m.Info)
}

// checkDonors compares what the node needs of its donors with the checksums.
func checkDonors(x *pageIndex, blobs []*Blob, id string) error {
	if len(blobs) == 0 {
		return nil
	}
	for _, r := range x.donors.runs {
		err := blobs[r.donor].Check(r.page, r.count)
		if bad := (*PageError)(nil); errors.As(err, &bad) {
			return donorError(x, r.first+bad.Page-r.page, bad.Page, &x.donors.list[r.donor], id, bad.Why)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// donorError is about a data page of a node that lies in a donor's file.
func donorError(x *pageIndex, dataPage, page uint64, d *donor, id, why string) *PageError {
	return &PageError{Where: fmt.Sprintf("of node %s, in the file of node %s", id, d.id), Page: page, Guest: x.guestRuns(dataPage, 1), Why: why}
}

// donorLeaves completes the leaves of a node's own pages with those of its donors',
// which it reads from their files.
func (s *Store) donorLeaves(x *pageIndex, id string, own []Digest, report func(*PageError)) ([]Digest, error) {
	leaves := make([]Digest, x.dataPages)
	x.eachPlace(0, x.dataPages, func(at, n uint64, donor int, page uint64) {
		if donor == ownFile {
			copy(leaves[at:at+n], own[page:])
		}
	})
	for i := range x.donors.list {
		d := &x.donors.list[i]
		f, h, err := openDonorFile(s.linkPath(id, d.ordinal), d)
		if err == nil {
			err = readDonor(x, f, h, i, id, leaves, report)
			if err == nil { // loading the node asks for it
				var index *pageIndex
				if index, err = readDonorIndex(f, h, d); err == nil {
					err = x.compareDonor(i, index.own())
				}
			}
			f.Close()
		}
		if err != nil {
			return nil, errLink(d, x.donors.pagesOf(i), err)
		}
	}
	return leaves, nil
}

// readDonor computes the leaves of the pages that lie in one donor's file.
func readDonor(x *pageIndex, f *os.File, h *header, donor int, id string, leaves []Digest, report func(*PageError)) error {
	data := h.sections[sectionData]
	for _, r := range x.donors.runs {
		if r.donor != donor {
			continue
		}
		if (r.page+r.count)*PageSize > data.length {
			return fmt.Errorf("data pages %d+%d are its pages %d+%d, it has %d: %w", r.first, r.count, r.page, r.count, data.length/PageSize, ErrFormat)
		}
		err := readPages(f, int64(data.offset), r.page, r.count, func(page uint64, b []byte) error {
			for ; len(b) > 0; page, b = page+1, b[PageSize:] {
				at := r.first + page - r.page
				leaves[at] = pageDigest(b[:PageSize])
				why := checkSum(b[:PageSize], x.sums[at])
				if why == "" && leaves[at] != x.digests[at] {
					why = fmt.Sprintf("digest is %v, sealed as %v", leaves[at], x.digests[at])
				}
				if why != "" {
					report(donorError(x, at, page, &x.donors.list[donor], id, why))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
