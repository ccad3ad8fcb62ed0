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

// Chunk returns the content of one, valid until the next call, and whether it is another than
// when the Marks saw it last; it is remembered.
func (m *Marks) Chunk(r *Region, n int) (content []byte, changed bool, err error) {
	m.begin(r)
	content, sum, err := m.read(r, n)
	if err != nil {
		return nil, false, err
	}
	changed = sum != m.sums[n]
	m.sums[n] = sum
	return content, changed, nil
}

func (m *Marks) read(r *Region, n int) (content []byte, sum uint64, err error) {
	at := uint64(n) * ChunkBytes
	p := m.buffer[:min(ChunkBytes, r.Bytes-at)]
	if _, err := r.ReadAt(p, int64(at)); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, fmt.Errorf("read chunk %d of region %q: %w", n, r.Name, err)
	}
	return p, maphash.Bytes(m.seed, p), nil
}

// begin has the Marks remember zeros, if they remember nothing.
func (m *Marks) begin(r *Region) {
	if m.buffer != nil {
		return
	}
	m.seed, m.buffer = maphash.MakeSeed(), make([]byte, min(ChunkBytes, r.Bytes))
	zeros := maphash.Bytes(m.seed, m.buffer)
	m.sums = make([]uint64, (r.Bytes+ChunkBytes-1)/ChunkBytes)
	for n := range m.sums {
		m.sums[n] = zeros
	}
	if rest := r.Bytes % ChunkBytes; rest != 0 {
		m.sums[len(m.sums)-1] = maphash.Bytes(m.seed, m.buffer[:rest])
	}
}
