package nodefile

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"seuss/guest"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func OrZero(page []byte) []byte {
	if page == nil {
		return guest.ZeroPage[:]
	}
	return page
}

// PageDigest is the leaf of a page.
func PageDigest(page []byte) Digest { return sha256.Sum256(page) }

var zeroLeaf = PageDigest(guest.ZeroPage[:])

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

// NoEOF turns an end of file where bytes were promised into what it means.
func NoEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Mismatch compares a page with its checksum and returns what is wrong.
func Mismatch(page []byte, want uint32) string {
	if got := Checksum(page); got != want {
		return fmt.Sprintf("checksum is %#08x, sealed as %#08x", got, want)
	}
	return ""
}
