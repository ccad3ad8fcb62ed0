package nodefile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"seuss/dirtytrack"
)

// PageSize is the size of a guest page in bytes.
const PageSize = dirtytrack.PageSize

// MaxDataPages bounds the data pages of a node, and the pages of an image file, so
// that their numbers take 32 bits: 16 TiB.
const MaxDataPages = math.MaxUint32

// MaxGuestPages bounds a guest: 1 TiB.
const MaxGuestPages = 1 << 28

// Digest is a SHA-256 value. Digests of several pages are roots over those of
// each, see rootHash, so that hashing every page once serves the search for
// duplicates, the verification of each page, the blob and the node id.
type Digest [sha256.Size]byte

// String returns the digest in lower-case hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String writes.
func ParseDigest(s string) (d Digest, err error) {
	if !ValidDigest(s) {
		return d, fmt.Errorf("digest %q is not %d lower-case hex digits: %w", s, 2*len(d), ErrFormat)
	}
	_, err = hex.Decode(d[:], []byte(s))
	return d, err
}
