package lineage

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// crcPages is the number of data pages that one checksum of the index covers:
// 256 KiB, small enough to name the damaged part of a guest.
const crcPages = 64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

var zeroPage [PageSize]byte

func isZero(page []byte) bool { return bytes.Equal(page, zeroPage[:]) }

// pageHasher computes the Digest of a sequence of pages.
type pageHasher struct{ h hash.Hash }

func newPageHasher() *pageHasher { return &pageHasher{sha256.New()} }

func pageHash(page []byte) Digest { return sha256.Sum256(page) }

// add appends a page by its hash.
func (p *pageHasher) add(hash Digest) { p.h.Write(hash[:]) }

// addPages appends whole pages.
func (p *pageHasher) addPages(data []byte) {
	for ; len(data) > 0; data = data[PageSize:] {
		p.add(pageHash(data[:PageSize]))
	}
}

func (p *pageHasher) sum() (d Digest) {
	p.h.Sum(d[:0])
	return d
}

// readPages calls f with at most crcPages pages at a time: the number of the
// first and the bytes. It reads with pread, so that a bad disk is an error and
// not a fault in a mapping.
func readPages(r io.ReaderAt, offset int64, pages uint64, f func(first uint64, data []byte) error) error {
	buf := make([]byte, min(pages, crcPages)*PageSize)
	for first := uint64(0); first < pages; first += crcPages {
		data := buf[:min(crcPages, pages-first)*PageSize]
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

// chunkError is the first chunk of pages whose checksum is wrong.
type chunkError struct {
	first, count uint64 // pages of the blob
	got, want    uint32
}

func (e *chunkError) Error() string {
	return fmt.Sprintf("data pages %d+%d: checksum %#08x, sealed as %#08x: %v", e.first, e.count, e.got, e.want, ErrChecksum)
}

func (e *chunkError) Unwrap() error { return ErrChecksum }

// verifyPages compares pages with the checksums of an index.
func verifyPages(r io.ReaderAt, offset int64, pages uint64, sums []uint32) error {
	return readPages(r, offset, pages, func(first uint64, data []byte) error {
		if got, want := checksum(data), sums[first/crcPages]; got != want {
			return &chunkError{first: first, count: uint64(len(data)) / PageSize, got: got, want: want}
		}
		return nil
	})
}
