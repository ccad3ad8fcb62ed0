// Package held says of which functions a member of a cluster holds the snapshot, in few bytes: a
// Bloom filter, which may say yes of one that the member does not hold, and never no of one that
// it does. Who believes it wrongly is told so when it asks.
//
// Units: bytes, and functions. Ownership: a Filter does not change.
//
// Locks: none.
package held

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Of a filter. With bitsEach and hashes it says yes wrongly of one in 120.
const (
	MaxBytes = 8 << 10 // what a member says of itself each second holds one
	minBytes = 64
	bitsEach = 10
	hashes   = 4
	// MaxFunctions is how many a filter has room for; a member that holds more says so of
	// those that it used last.
	MaxFunctions = MaxBytes * 8 / bitsEach
)

// ErrFilter: what was received is no filter.
var ErrFilter = errors.New("not a filter")

// Key is one function's code, as a filter has it.
type Key struct{ at [hashes]uint64 }

// KeyOf is the key of a function, without a version, and the digest of its code.
func KeyOf(function, code string) Key {
	sum := sha256.Sum256([]byte(function + "\x00" + code))
	var k Key
	for i := range k.at {
		k.at[i] = binary.LittleEndian.Uint64(sum[i*8:])
	}
	return k
}

// Filter is what a member holds. An empty one holds nothing. It is small, and copied: who asks many
// of them follows one pointer each.
type Filter struct{ words []uint64 } // a power of two of them

// New makes the filter of some functions, the first MaxFunctions if there are more.
func New(functions []Key) Filter {
	functions = functions[:min(len(functions), MaxFunctions)]
	bytes := max(minBytes, len(functions)*bitsEach/8)
	bytes = min(MaxBytes, 1<<bits.Len(uint(bytes-1)))
	f := Filter{make([]uint64, bytes/8)}
	for _, k := range functions {
		for _, at := range k.at {
			f.words[f.word(at)] |= 1 << (at % 64)
		}
	}
	return f
}

// word is where the bit of a location lies.
func (f Filter) word(at uint64) uint64 { return at / 64 & uint64(len(f.words)-1) }

// Has reports whether a member probably holds the snapshot of a function.
func (f Filter) Has(k Key) bool {
	if len(f.words) == 0 {
		return false
	}
	for _, at := range k.at {
		if f.words[f.word(at)]>>(at%64)&1 == 0 {
			return false
		}
	}
	return true
}

// May is 0 where Has is false, for most of what it is false for, and else 1: without a branch, so
// that a processor asks many filters at once, each of which is not in its caches.
func (f Filter) May(k *Key) int {
	if len(f.words) == 0 {
		return 0
	}
	return int(f.words[f.word(k.at[0])] >> (k.at[0] % 64) & (f.words[f.word(k.at[1])] >> (k.at[1] % 64)) & 1)
}

// Empty reports whether nothing is known of what a member holds.
func (f Filter) Empty() bool { return len(f.words) == 0 }

// Encode makes a filter's bytes: a power of two of them, of minBytes to MaxBytes.
func (f Filter) Encode() []byte {
	b := make([]byte, 0, len(f.words)*8)
	for _, w := range f.words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// Decode reads them. The error matches ErrFilter.
func Decode(b []byte) (Filter, error) {
	if len(b) < minBytes || len(b) > MaxBytes || bits.OnesCount(uint(len(b))) != 1 {
		return Filter{}, fmt.Errorf("it has %d bytes, want a power of two of %d to %d: %w", len(b), minBytes, MaxBytes, ErrFilter)
	}
	f := Filter{make([]uint64, len(b)/8)}
	for i := range f.words {
		f.words[i] = binary.LittleEndian.Uint64(b[i*8:])
	}
	return f, nil
}
