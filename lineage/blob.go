package lineage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
)

// PageSize is the size of a guest page in bytes.
const PageSize = dirtytrack.PageSize

// maxBlobPages keeps a blob's page numbers within the 32 bits that a view
// spends on them: 16 TiB.
const maxBlobPages = math.MaxUint32

// Digest is a SHA-256 value. A blob's digest is taken over the concatenated
// SHA-256 values of its pages, so that hashing every page once serves the
// search for duplicates, the blob and the node id.
type Digest [sha256.Size]byte

// String returns the digest in lower-case hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String writes.
func ParseDigest(s string) (d Digest, err error) {
	if !validDigest(s) {
		return d, fmt.Errorf("digest %q is not %d lower-case hex digits: %w", s, 2*len(d), ErrFormat)
	}
	_, err = hex.Decode(d[:], []byte(s))
	return d, err
}

// Blob is an immutable run of whole pages in a file: a root image, or the data
// section of a node file. It is mapped MAP_SHARED and read-only, so all nodes
// and all machines that use it share the host's page cache.
//
// The mapping and the file are released when the Blob is no longer reachable.
type Blob struct {
	name   string
	file   *os.File
	offset int64
	pages  uint64
	mem    []byte
	digest Digest
}

// mapping is what a Blob leaves to release.
type mapping struct {
	mem  []byte
	file *os.File
}

func (m mapping) release() {
	if len(m.mem) > 0 {
		// Fails only for an address that is not a mapping; nobody is left to tell.
		_ = unix.Munmap(m.mem)
	}
	_ = m.file.Close()
}

// newBlob maps pages pages at offset of file, and owns file from then on,
// also when it fails. The range must lie inside the file.
func newBlob(name string, file *os.File, offset int64, pages uint64, digest Digest) (*Blob, error) {
	m := mapping{file: file}
	if pages > maxBlobPages || offset%PageSize != 0 {
		m.release()
		return nil, fmt.Errorf("map blob %s: %d pages at offset %d: %w", name, pages, offset, ErrFormat)
	}
	fi, err := file.Stat()
	if err != nil {
		m.release()
		return nil, fmt.Errorf("map blob %s: %w", name, err)
	}
	if end := offset + int64(pages*PageSize); fi.Size() < end {
		m.release()
		return nil, fmt.Errorf("map blob %s: %d pages at offset %d end at %d, the file has %d bytes: %w",
			name, pages, offset, end, fi.Size(), ErrLength)
	}
	if pages > 0 {
		m.mem, err = unix.Mmap(int(file.Fd()), offset, int(pages*PageSize), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			m.release()
			return nil, fmt.Errorf("map blob %s: %d pages at offset %d: %w", name, pages, offset, err)
		}
	}
	b := &Blob{name: name, file: file, offset: offset, pages: pages, mem: m.mem, digest: digest}
	runtime.AddCleanup(b, mapping.release, m)
	return b, nil
}

// Name says where the blob comes from, for messages.
func (b *Blob) Name() string { return b.name }

// File returns the open file, for mapping pages of it elsewhere: page n lies at
// DataOffset() + n*PageSize. It is open for reading only and belongs to the
// Blob: do not close it, and keep the Blob reachable while using it.
func (b *Blob) File() *os.File { return b.file }

// DataOffset returns the offset of page 0 in the file, in bytes, a multiple of
// PageSize.
func (b *Blob) DataOffset() int64 { return b.offset }

// Pages returns the number of pages.
func (b *Blob) Pages() uint64 { return b.pages }

// Digest returns the digest that the pages had when the blob was sealed.
func (b *Blob) Digest() Digest { return b.digest }

// Bytes returns the PageSize bytes of one page. The memory is read-only and
// valid while the Blob is reachable. It panics if page is not below Pages.
func (b *Blob) Bytes(page uint64) []byte {
	if page >= b.pages {
		panic(fmt.Sprintf("lineage: page %d of blob %s, which has %d", page, b.name, b.pages))
	}
	lo := page * PageSize
	return b.mem[lo : lo+PageSize : lo+PageSize]
}

// Verify reads the blob from its file and compares it with Digest. The error
// matches ErrChecksum if the content changed.
func (b *Blob) Verify() error {
	h := newPageHasher()
	err := readPages(b.file, b.offset, b.pages, func(_ uint64, data []byte) error {
		h.addPages(data)
		return nil
	})
	runtime.KeepAlive(b)
	if err != nil {
		return fmt.Errorf("verify blob %s: %w", b.name, err)
	}
	if got := h.sum(); got != b.digest {
		return fmt.Errorf("verify blob %s: digest of %d pages is %s, sealed as %s: %w", b.name, b.pages, got, b.digest, ErrChecksum)
	}
	return nil
}
