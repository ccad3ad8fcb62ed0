package lineage

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// batchPages is the number of pages that are read or written at a time: 256 KiB.
const batchPages = 64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

var zeroPage [PageSize]byte

func isZero(page []byte) bool { return bytes.Equal(page, zeroPage[:]) }

func orZero(page []byte) []byte {
	if page == nil {
		return zeroPage[:]
	}
	return page
}

// pageDigest is the leaf of a page.
func pageDigest(page []byte) Digest { return sha256.Sum256(page) }

var zeroLeaf = pageDigest(zeroPage[:])

// rootHash computes the digest over a sequence of leaves: a Merkle tree of
// height one, whose fan-out is the number of pages. A proof for one page is the
// list of leaves, which a reader has in the index anyway.
type rootHash struct{ h hash.Hash }

const rootDomain = "seuss pages 2\x00"

func newRootHash() *rootHash {
	r := &rootHash{sha256.New()}
	r.h.Write([]byte(rootDomain))
	return r
}

func (r *rootHash) add(leaf Digest) { r.h.Write(leaf[:]) }

func (r *rootHash) sum() (d Digest) {
	r.h.Sum(d[:0])
	return d
}

// readPages calls f with at most batchPages pages at a time: the number of the
// first and the bytes. It reads with pread, so that a bad disk is an error and
// not a fault in a mapping.
func readPages(r io.ReaderAt, offset int64, first, count uint64, f func(first uint64, data []byte) error) error {
	buf := make([]byte, min(count, batchPages)*PageSize)
	for end := first + count; first < end; first += batchPages {
		data := buf[:min(batchPages, end-first)*PageSize]
		at := offset + int64(first*PageSize)
		if n, err := r.ReadAt(data, at); n < len(data) {
			return fmt.Errorf("read pages %d+%d at offset %d: got %d of %d bytes: %w",
				first, len(data)/PageSize, at, n, len(data), noEOF(err))
		}
		if err := f(first, data); err != nil {
			return err
		}
	}
	return nil
}

// noEOF turns an end of file where bytes were promised into what it means.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// PageError is a page whose content is not what was sealed. It matches
// ErrChecksum.
type PageError struct {
	Where string // the blob, by name: it names the node
	Page  uint64 // of the blob
	Guest string // guest pages that show it
	Why   string
}

func (e *PageError) Error() string {
	return fmt.Sprintf("data page %d %s (%s): %s: %v", e.Page, e.Where, e.Guest, e.Why, ErrChecksum)
}

func (e *PageError) Unwrap() error { return ErrChecksum }

// checkSum compares a page with its checksum and returns what is wrong.
func checkSum(page []byte, want uint32) string {
	if got := checksum(page); got != want {
		return fmt.Sprintf("checksum is %#08x, sealed as %#08x", got, want)
	}
	return ""
}
