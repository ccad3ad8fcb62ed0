package lineage

import (
	"errors"
	"fmt"
	"os"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// openPages maps the pages of a node that is stored as pages, with those of its
// donors. It owns f.
func (s loader) openPages(f *os.File, h *nodefile.Header, x *nodefile.Index, id string, verify pages.Verify) (own *pages.Blob, donors []*pages.Blob, err error) {
	if own, err = s.openBlob(f, h, x.Own(), id, verify); err != nil || x.Donors == nil {
		return own, nil, err
	}
	for i := range x.Donors.List {
		d := &x.Donors.List[i]
		blob, err := s.openDonor(s.linkPath(id, d.Ordinal), d, verify)
		if err == nil {
			err = x.CompareDonor(i, blob.Index())
		}
		if err != nil {
			return nil, nil, errLink(d, x.Donors.PagesOf(i), err)
		}
		donors = append(donors, blob)
	}
	return own, donors, nil
}

// openBlob maps the data section of a node file. It owns f.
func (s loader) openBlob(f *os.File, h *nodefile.Header, own *nodefile.Index, id string, verify pages.Verify) (*pages.Blob, error) {
	file, err := pages.FileIDOf(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	if b := s.blobs.Get(file); b != nil {
		f.Close()
		return b, nil
	}
	b, err := pages.Open(verify, false, "of node "+id, f, int64(h.Sections[nodefile.SectionData].Offset), own)
	if err != nil {
		return nil, err
	}
	return s.blobs.Add(file, b), nil
}

// openDonorFile opens a link and makes sure that it is the donor's file.
func openDonorFile(path string, d *nodefile.Donor) (*os.File, *nodefile.Header, error) {
	f, h, err := openNodeFile(path)
	if err != nil {
		return nil, nil, err
	}
	if h.Total != d.Length || h.CRC != d.CRC || h.Form != nodefile.FormPages {
		f.Close()
		return nil, nil, fmt.Errorf("%s is another file, of %d bytes in the form %v with the header checksum %#08x, not of %d bytes with %#08x: %w",
			path, h.Total, h.Form, h.CRC, d.Length, d.CRC, nodefile.ErrIdentity)
	}
	return f, h, nil
}

// openDonor maps the data section of a donor's file.
func (s loader) openDonor(path string, d *nodefile.Donor, verify pages.Verify) (*pages.Blob, error) {
	f, h, err := openDonorFile(path, d)
	if err != nil {
		return nil, err
	}
	x, err := readDonorIndex(f, h, d)
	if err != nil {
		f.Close()
		return nil, err
	}
	return s.openBlob(f, h, x.Own(), d.ID, verify)
}

func readDonorIndex(f *os.File, h *nodefile.Header, d *nodefile.Donor) (*nodefile.Index, error) {
	m, err := nodefile.ReadInfo(f, h, d.ID)
	if err != nil {
		return nil, err
	}
	if m.Kind == nodefile.KindImage {
		return nil, fmt.Errorf("an image node has no pages in its file: %w", nodefile.ErrFormat)
	}
	return nodefile.ReadIndex(f, h, &m.Info)
}

// checkDonors compares what the node needs of its donors with the checksums.
func checkDonors(x *nodefile.Index, blobs []*pages.Blob, id string) error {
	if len(blobs) == 0 {
		return nil
	}
	for _, r := range x.Donors.Runs {
		err := blobs[r.Donor].Check(r.Page, r.Count)
		if bad := (*pages.PageError)(nil); errors.As(err, &bad) {
			return donorError(x, r.First+bad.Page-r.Page, bad.Page, &x.Donors.List[r.Donor], id, bad.Why)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// donorError is about a data page of a node that lies in a donor's file.
func donorError(x *nodefile.Index, dataPage, page uint64, d *nodefile.Donor, id, why string) *pages.PageError {
	return &pages.PageError{Where: fmt.Sprintf("of node %s, in the file of node %s", id, d.ID), Page: page, Guest: x.GuestRuns(dataPage, 1), Why: why}
}

// donorLeaves completes the leaves of a node's own pages with those of its donors',
// which it reads from their files.
func (s loader) donorLeaves(x *nodefile.Index, id string, own []nodefile.Digest, report func(*pages.PageError)) ([]nodefile.Digest, error) {
	leaves := make([]nodefile.Digest, x.DataPages)
	x.EachPlace(0, x.DataPages, func(at, n uint64, donor int, page uint64) {
		if donor == nodefile.OwnFile {
			copy(leaves[at:at+n], own[page:])
		}
	})
	for i := range x.Donors.List {
		d := &x.Donors.List[i]
		f, h, err := openDonorFile(s.linkPath(id, d.Ordinal), d)
		if err == nil {
			err = readDonor(x, f, h, i, id, leaves, report)
			if err == nil { // loading the node asks for it
				var index *nodefile.Index
				if index, err = readDonorIndex(f, h, d); err == nil {
					err = x.CompareDonor(i, index.Own())
				}
			}
			f.Close()
		}
		if err != nil {
			return nil, errLink(d, x.Donors.PagesOf(i), err)
		}
	}
	return leaves, nil
}

// readDonor computes the leaves of the pages that lie in one donor's file.
func readDonor(x *nodefile.Index, f *os.File, h *nodefile.Header, donor int, id string, leaves []nodefile.Digest, report func(*pages.PageError)) error {
	data := h.Sections[nodefile.SectionData]
	for _, r := range x.Donors.Runs {
		if r.Donor != donor {
			continue
		}
		if (r.Page+r.Count)*nodefile.PageSize > data.Length {
			return fmt.Errorf("data pages %d+%d are its pages %d+%d, it has %d: %w", r.First, r.Count, r.Page, r.Count, data.Length/nodefile.PageSize, nodefile.ErrFormat)
		}
		err := pages.ReadPages(f, int64(data.Offset), r.Page, r.Count, func(page uint64, b []byte) error {
			for ; len(b) > 0; page, b = page+1, b[nodefile.PageSize:] {
				at := r.First + page - r.Page
				leaves[at] = nodefile.PageDigest(b[:nodefile.PageSize])
				why := nodefile.Mismatch(b[:nodefile.PageSize], x.Sums[at])
				if why == "" && leaves[at] != x.Digests[at] {
					why = fmt.Sprintf("digest is %v, sealed as %v", leaves[at], x.Digests[at])
				}
				if why != "" {
					report(donorError(x, at, page, &x.Donors.List[donor], id, why))
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
