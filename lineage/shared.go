package lineage

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"weak"

	"golang.org/x/sys/unix"
)

// sharedBlobs finds the Blob of a node file by its inode. Two nodes that have pages in
// one file, under whatever names, so have them in one Blob: one mapping, one copy of
// what is filled on demand, each page checked once, and nothing to copy when a machine
// goes from one of the nodes to the other. An inode is not used again while a Blob
// has its file open.
type sharedBlobs struct {
	mu sync.Mutex // a leaf
	at map[fileID]weak.Pointer[Blob]
}

type fileID struct{ device, inode uint64 }

func (b *sharedBlobs) get(file fileID) *Blob {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at[file].Value()
}

// add returns what another one has added meanwhile, or blob.
func (b *sharedBlobs) add(file fileID, blob *Blob) *Blob {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.at[file].Value(); known != nil {
		return known
	}
	if b.at == nil {
		b.at = map[fileID]weak.Pointer[Blob]{}
	}
	b.at[file] = weak.Make(blob)
	runtime.AddCleanup(blob, b.drop, file)
	return blob
}

func (b *sharedBlobs) drop(file fileID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at[file].Value() == nil {
		delete(b.at, file)
	}
}

func fileIDOf(f *os.File) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileID{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return fileID{st.Dev, st.Ino}, nil
}

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

// checkDonors compares what the node needs of its donors with the checksums.
func (x *pageIndex) checkDonors(blobs []*Blob, id string) error {
	if len(blobs) == 0 {
		return nil
	}
	for _, r := range x.donors.runs {
		err := blobs[r.donor].Check(r.page, r.count)
		if bad := (*PageError)(nil); errors.As(err, &bad) {
			return x.donorError(r.first+bad.Page-r.page, bad.Page, &x.donors.list[r.donor], id, bad.Why)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// donorError is about a data page of a node that lies in a donor's file.
func (x *pageIndex) donorError(dataPage, page uint64, d *donor, id, why string) *PageError {
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
			err = x.readDonor(f, h, i, id, leaves, report)
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
func (x *pageIndex) readDonor(f *os.File, h *header, donor int, id string, leaves []Digest, report func(*PageError)) error {
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
					report(x.donorError(at, page, &x.donors.list[donor], id, why))
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
