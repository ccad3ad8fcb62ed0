package region

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"seuss/dispatcher/state"
)

// ChunkBytes is in what parts of a region changes are looked for.
const ChunkBytes = state.ChunkBytes

// Marks remember what the chunks of a region held, to find those that were written since.
// The zero value remembers nothing: all have changed, but those that are zeros. A mark is
// 64 bits under a seed that nobody knows: a change is missed once in 2^64. Marks are one
// goroutine's at a time.
type Marks struct {
	seed   maphash.Seed
	sums   []uint64
	buffer []byte
}

// Changed calls each with every chunk whose content is another than when the Marks saw it
// last, in order, and remembers it, unless each fails, which ends the search. content is a
// copy, valid during the call: guests may write on. The last chunk may be shorter.
func (m *Marks) Changed(r *Region, each func(chunk int, content []byte) error) error {
	if m.buffer == nil {
		m.seed, m.buffer = maphash.MakeSeed(), make([]byte, ChunkBytes)
		zeros := maphash.Bytes(m.seed, m.buffer)
		m.sums = make([]uint64, (r.Bytes+ChunkBytes-1)/ChunkBytes)
		for n := range m.sums {
			m.sums[n] = zeros
		}
		if rest := r.Bytes % ChunkBytes; rest != 0 {
			m.sums[len(m.sums)-1] = maphash.Bytes(m.seed, m.buffer[:rest])
		}
	}
	for n := range m.sums {
		at := uint64(n) * ChunkBytes
		p := m.buffer[:min(ChunkBytes, r.Bytes-at)]
		if _, err := r.ReadAt(p, int64(at)); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read chunk %d of region %q: %w", n, r.Name, err)
		}
		sum := maphash.Bytes(m.seed, p)
		if sum == m.sums[n] {
			continue
		}
		if err := each(n, p); err != nil {
			return err
		}
		m.sums[n] = sum
	}
	return nil
}
