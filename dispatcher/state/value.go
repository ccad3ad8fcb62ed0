package state

import (
	"slices"
	"sync/atomic"
)

// ChunkBytes is the size of the parts of a value: what is read, written and moved of a large
// one are those that are touched. It is Faasm's (ATC'20, 4.3).
const ChunkBytes = 64 << 10

// chunk is a part of a value. Its bytes do not change; those behind them in the same memory
// may be a later chunk's, which then has these, too.
type chunk struct {
	data []byte
	sum  atomic.Pointer[Digest] // of data; nil: not known yet
}

// value is the content of a key. It does not change.
type value struct {
	chunks []*chunk // each ChunkBytes but the last; nil, and what one lacks: zeros
	size   int64
}

// valueOf makes a value of bytes, which it copies.
func valueOf(p []byte) value {
	v := value{size: int64(len(p))}
	for part := range slices.Chunk(p, ChunkBytes) {
		v.chunks = append(v.chunks, &chunk{data: slices.Clone(part)})
	}
	return v
}

// bytes is how much memory it takes.
func (v *value) bytes() (n int64) {
	for _, c := range v.chunks {
		n += 8
		if c != nil {
			n += int64(cap(c.data)) + chunkOverhead
		}
	}
	return n
}

const chunkOverhead = 48

// read returns the bytes of [at, at+n), as far as there are any.
func (v *value) read(at, n int64) []byte {
	n = min(n, v.size-at)
	if n <= 0 {
		return []byte{}
	}
	p := make([]byte, n)
	v.copyTo(p, at)
	return p
}

// copyTo copies the bytes from an offset on, as many as there is room for: no more than there are.
// p is zeros where the value is.
func (v *value) copyTo(p []byte, at int64) {
	n := int64(len(p))
	for got := int64(0); got < n; {
		index, off := (at+got)/ChunkBytes, (at+got)%ChunkBytes
		step := min(ChunkBytes-off, n-got)
		if c := v.chunks[index]; c != nil && off < int64(len(c.data)) {
			copy(p[got:got+step], c.data[off:])
		}
		got += step
	}
}

// pieces are bytes that lie from an offset on, cut where chunks are.
type pieces struct {
	at    int64
	parts []*chunk
}

// cut copies bytes into the chunks that they will be in: what is done without a lock.
func cut(at int64, p []byte) pieces {
	w := pieces{at: at}
	for len(p) > 0 {
		n := min(int64(len(p)), ChunkBytes-at%ChunkBytes)
		w.parts = append(w.parts, &chunk{data: slices.Clone(p[:n])})
		p, at = p[n:], at+n
	}
	return w
}

// with returns the value with other bytes at an offset; what lies between its end and them is
// zeros. Of the chunks at both ends the rest is copied.
func (v *value) with(w pieces) value {
	next := value{size: v.size, chunks: slices.Clone(v.chunks)}
	at := w.at
	for _, part := range w.parts {
		index, off := int(at/ChunkBytes), int(at%ChunkBytes)
		at += int64(len(part.data))
		next.size = max(next.size, at)
		if missing := index + 1 - len(next.chunks); missing > 0 {
			next.chunks = append(next.chunks, make([]*chunk, missing)...)
		}
		var old []byte
		if c := next.chunks[index]; c != nil {
			old = c.data
		}
		next.chunks[index] = merge(old, off, part)
	}
	return next
}

func merge(old []byte, off int, part *chunk) *chunk {
	end := off + len(part.data)
	if off == 0 && end >= len(old) {
		return part
	}
	data := make([]byte, max(end, len(old)))
	copy(data, old)
	copy(data[off:], part.data)
	return &chunk{data: data}
}

// appended returns the value with bytes at its end. What the last chunk has in its memory
// behind its bytes is used: of one value there is one next.
func (v *value) appended(p []byte) value {
	next := value{size: v.size + int64(len(p)), chunks: slices.Clone(v.chunks)}
	if off := int(v.size % ChunkBytes); off != 0 {
		last := next.chunks[len(next.chunks)-1]
		n := min(len(p), ChunkBytes-off)
		var data []byte
		if last != nil && len(last.data) == off {
			data = append(last.data, p[:n]...)
		} else { // it ends in zeros
			data = make([]byte, off+n)
			if last != nil {
				copy(data, last.data)
			}
			copy(data[off:], p[:n])
		}
		next.chunks[len(next.chunks)-1] = &chunk{data: data}
		p = p[n:]
	}
	for part := range slices.Chunk(p, ChunkBytes) {
		next.chunks = append(next.chunks, &chunk{data: slices.Clone(part)})
	}
	return next
}
