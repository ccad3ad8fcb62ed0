package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"seuss/guest"
	"seuss/lineage/sealed"
)

// Info describes an image that Build wrote.
type Info struct {
	Name        string
	Digest      Digest
	Bytes       int64 // of the image's own file and the content of its layers
	OwnBytes    int64 // of its own file
	Files       int   // regular files
	Dirs        int   // directories, the root included
	Links       int   // symbolic links
	LoadBytes   int64 // part of OwnBytes that is loaded layouts
	Entry       uint64
	KernelEnd   uint64
	Extents     int
	DirectCalls int      // system calls in loaded layouts that trampolines serve
	LeftCalls   int      // those that could not safely be changed
	NotLoadable []string // guest paths of damaged ELF files, kept as plain data
}

// Build writes the image of a Spec from offset 0 of w, which is any writable
// file or equivalent; what w holds behind the image is left alone. Each byte
// of the image is written, in order, and last the digest. When Build fails,
// what was written so far must be thrown away.
//
// progress, when not nil, is told the bytes done and the total after each
// part, and which guest path it was.
func Build(ctx context.Context, w io.WriterAt, spec Spec, progress func(done, total int64, what string)) (Info, error) {
	p, err := newPlan(&spec)
	if err != nil {
		return Info{}, fmt.Errorf("plan image: %w", err)
	}
	digest, err := p.write(ctx, w, progress)
	if err != nil {
		return Info{}, fmt.Errorf("write image %s: %w", spec.Name, err)
	}
	info := Info{
		Name: spec.Name, Digest: digest, Bytes: int64(p.header.OwnBytes + p.layerBytes), OwnBytes: int64(p.header.OwnBytes),
		LoadBytes: int64(p.loadBytes), Entry: p.header.Entry, KernelEnd: p.header.KernelEnd,
		Extents: len(p.extents), NotLoadable: p.notLoadable,
	}
	for i := range p.inodes {
		switch n := &p.inodes[i]; {
		case n.IsDir():
			info.Dirs++
		case n.IsSymlink():
			info.Links++
		default:
			info.Files++
			info.DirectCalls += p.nodes[i].direct.Calls()
			info.LeftCalls += p.nodes[i].direct.Left
		}
	}
	return info, nil
}

// BuildTemporary builds an image below dir that lasts as long as it is open. Its layers, if
// it has any, lie in dir's store of layers.
func BuildTemporary(ctx context.Context, dir string, spec Spec, progress func(done, total int64, what string)) (*Image, error) {
	if err := os.MkdirAll(dir, sealed.DirMode); err != nil {
		return nil, fmt.Errorf("directory of a temporary image: %w", err)
	}
	f, err := os.CreateTemp(dir, ".run-*.img")
	if err != nil {
		return nil, fmt.Errorf("temporary image: %w", err)
	}
	defer f.Close()
	defer os.Remove(f.Name()) // the open image keeps its content
	if _, err := Build(ctx, f, spec, progress); err != nil {
		return nil, err
	}
	return Open(f.Name(), SkipDigest())
}

// write writes the planned image and returns its digest.
func (p *plan) write(ctx context.Context, w io.WriterAt, progress func(done, total int64, what string)) (Digest, error) {
	var digest Digest
	tables, err := p.encodeTables()
	if err != nil {
		return digest, err
	}
	disk := &stretchWriter{w: io.NewOffsetWriter(w, 0), buf: make([]byte, 0, guest.ImageAlign)}
	out := &imageWriter{w: disk, sum: sha256.New()}
	total := p.header.OwnBytes
	for _, c := range append(tables, p.chunks...) {
		if err := ctx.Err(); err != nil {
			return digest, err
		}
		if err := out.zeroTo(c.off); err != nil {
			return digest, err
		}
		if err := c.write(ctx, out); err != nil {
			return digest, err
		}
		if out.n != c.off+c.size {
			return digest, fmt.Errorf("%s: wrote %d bytes, planned %d", c.what, out.n-c.off, c.size)
		}
		if progress != nil {
			progress(int64(out.n), int64(total), c.what)
		}
	}
	if err := out.zeroTo(total); err != nil {
		return digest, err
	}
	if err := disk.flush(); err != nil {
		return digest, err
	}
	out.sum.Sum(digest[:0])
	if _, err := w.WriteAt(digest[:], guest.ImageHeaderDigest); err != nil {
		return digest, fmt.Errorf("write digest: %w", err)
	}
	return digest, nil
}

// encodeTables returns the chunks of the header, configuration and tables.
func (p *plan) encodeTables() ([]chunk, error) {
	h := &p.header
	var out []chunk
	for _, t := range []struct {
		off  uint64
		what string
		v    any
	}{
		{0, "header", h},
		{h.ConfigOff, "configuration", p.config},
		{h.InodesOff, "inodes", p.inodes},
		{h.DirentsOff, "directory entries", p.dirents},
		{h.NamesOff, "names", p.names},
		{h.ExtentsOff, "extents", p.extents},
		{h.LayersOff, "layers", p.layers},
	} {
		buf, err := encode(nil, t.v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.what, err)
		}
		out = append(out, chunk{t.off, uint64(len(buf)), t.what, func(_ context.Context, w io.Writer) error {
			_, err := w.Write(buf)
			return err
		}})
	}
	return out, nil
}

// stretchWriter writes 2 MiB at a time, at multiples of it: a file system that can
// then keeps them in huge pages of the page cache (docs/decisions/boot.md, "Where
// do huge pages come from, and what gets them?").
type stretchWriter struct {
	w   io.Writer
	buf []byte
}

func (s *stretchWriter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		took := min(len(b)-n, cap(s.buf)-len(s.buf))
		s.buf = append(s.buf, b[n:n+took]...)
		n += took
		if len(s.buf) == cap(s.buf) {
			if err := s.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (s *stretchWriter) flush() error {
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// imageWriter counts and sums what goes to the file.
type imageWriter struct {
	w   io.Writer
	sum hash.Hash
	n   uint64
}

func (o *imageWriter) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.sum.Write(b[:n]) // never fails, see hash.Hash
	o.n += uint64(n)
	return n, err
}

var zeroes = bytes.Repeat([]byte{0}, 64<<10)

// zeroTo pads the image with zero up to an offset.
func (o *imageWriter) zeroTo(off uint64) error {
	if off < o.n {
		return errors.New("image parts overlap")
	}
	for o.n < off {
		if _, err := o.Write(zeroes[:min(off-o.n, uint64(len(zeroes)))]); err != nil {
			return err
		}
	}
	return nil
}
