package layer

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"seuss/guest"
)

// Content reads a layer's content page by page, and compares each page with its checksum.
// It keeps nothing of the tables in memory, however large the layer is. It is safe for
// concurrent use.
type Content struct {
	file   *os.File
	header Header
}

// Content opens the content of a layer. The caller closes it.
func (s Store) Content(d Digest) (*Content, error) {
	f, err := os.Open(s.Path(d))
	if err != nil {
		return nil, fmt.Errorf("open content of layer %s: %w", s.Path(d), err)
	}
	c := &Content{file: f}
	st, err := f.Stat()
	if err == nil {
		err = readHeader(f, uint64(st.Size()), &c.header)
	}
	if err == nil && c.header.Digest != d {
		err = corrupt("its header has the digest %v", c.header.Digest)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open content of layer %s: %w", s.Path(d), err)
	}
	return c, nil
}

// Bytes is how long the content is.
func (c *Content) Bytes() uint64 { return c.header.ContentEnd - guest.PageSize }

// ReadAt implements io.ReaderAt over the content. Offset and length are multiples of the
// page size. A page that is damaged is ErrCorrupt.
func (c *Content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || (uint64(off)|uint64(len(p)))%guest.PageSize != 0 {
		return 0, fmt.Errorf("read %d bytes of layer %v at %d: not in pages", len(p), c.header.Digest, off)
	}
	if uint64(off) >= c.Bytes() {
		return 0, io.EOF
	}
	short := uint64(len(p)) > c.Bytes()-uint64(off)
	p = p[:min(uint64(len(p)), c.Bytes()-uint64(off))]
	if n, err := c.file.ReadAt(p, guest.PageSize+off); n < len(p) {
		return 0, fmt.Errorf("read layer %v: %w", c.header.Digest, noEOF(err))
	}
	first := uint64(off) / guest.PageSize
	sums := make([]byte, len(p)/guest.PageSize*sumBytes)
	if n, err := c.file.ReadAt(sums, int64(c.header.sumsOff()+first*sumBytes)); n < len(sums) {
		return 0, fmt.Errorf("read checksums of layer %v: %w", c.header.Digest, noEOF(err))
	}
	for i := range len(p) / guest.PageSize {
		got, want := crc32.Checksum(p[i*guest.PageSize:][:guest.PageSize], castagnoli), binary.LittleEndian.Uint32(sums[i*sumBytes:])
		if got != want {
			return i * guest.PageSize, fmt.Errorf("layer %v: %w", c.header.Digest, corrupt("page %d has the checksum %#x, sealed as %#x", first+uint64(i)+1, got, want))
		}
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// Sums returns the CRC-32C of each page of content: of the file from its second page on. They
// are not compared with the layer's digest, which takes reading all tables: nine times as much.
func (c *Content) Sums() ([]uint32, error) {
	table := make([]byte, c.header.pages()*sumBytes)
	if n, err := c.file.ReadAt(table, int64(c.header.sumsOff())); n < len(table) {
		return nil, fmt.Errorf("read checksums of layer %v: got %d of %d bytes: %w", c.header.Digest, n, len(table), noEOF(err))
	}
	sums := make([]uint32, c.header.pages())
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint32(table[i*sumBytes:])
	}
	return sums, nil
}

// Close closes the file.
func (c *Content) Close() error { return c.file.Close() }
