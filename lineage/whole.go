package lineage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"seuss/lineage/nodefile"
)

// wholeFile is the file that a node with donors would have without them, byte for
// byte, put together as it is read: how such a node is exported.
type wholeFile struct {
	node   string
	head   []byte // header
	tail   []byte // what follows the pages
	pieces []piece
	paths  []string // of the files that pieces lie in
	size   int64
}

// piece is a part of the data section: the bytes from at on, up to the next piece, are
// those of a file from offset on.
type piece struct {
	at, offset int64
	file       int
}

// exportWhole describes the whole file of a node with donors.
func (s Transfer) exportWhole(n *Node) (*Portable, error) {
	f, h, err := openNodeFile(s.store.nodePath(n.ID))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	x, err := nodefile.ReadIndex(f, h, &n.Info)
	if err != nil {
		return nil, err
	}
	if x.Donors == nil {
		return nil, fmt.Errorf("it was written anew meanwhile; try again: %w", nodefile.ErrInvalid)
	}
	whole, rest, err := h.Without(f, x)
	if err != nil {
		return nil, err
	}
	w := &wholeFile{node: n.ID, paths: []string{s.store.nodePath(n.ID)}, head: whole.Encode(), tail: rest, size: int64(whole.Total)}
	offsets := []uint64{h.Sections[nodefile.SectionData].Offset}
	for i := range x.Donors.List {
		d := &x.Donors.List[i]
		path := s.store.linkPath(n.ID, d.Ordinal)
		f, h, err := openDonorFile(path, d)
		if err != nil {
			return nil, errLink(d, x.Donors.PagesOf(i), err)
		}
		f.Close()
		w.paths = append(w.paths, path)
		offsets = append(offsets, h.Sections[nodefile.SectionData].Offset)
	}
	x.EachPlace(0, x.DataPages, func(at, _ uint64, donor int, page uint64) {
		file := donor + 1 // ownFile is 0
		w.pieces = append(w.pieces, piece{int64(nodefile.PagesHeaderBytes + at*nodefile.PageSize), int64(offsets[file] + page*nodefile.PageSize), file})
	})
	return &Portable{Info: n.Info, Size: w.size, whole: w}, nil
}

// wholeReader reads a wholeFile.
type wholeReader struct {
	*io.SectionReader
	w     *wholeFile
	files []*os.File
}

func (w *wholeFile) open() (io.ReadSeekCloser, error) {
	r := &wholeReader{w: w}
	for _, path := range w.paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read node %s: %w", w.node, err), r.Close())
		}
		r.files = append(r.files, f)
	}
	r.SectionReader = io.NewSectionReader(readerAt(r.readAt), 0, w.size)
	return r, nil
}

func (r *wholeReader) Close() (err error) {
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func (r *wholeReader) readAt(p []byte, off int64) (n int, err error) {
	w := r.w
	tail := w.size - int64(len(w.tail))
	for n < len(p) && err == nil {
		at := off + int64(n)
		rest := p[n:]
		var got int
		switch {
		case at < int64(len(w.head)):
			got = copy(rest, w.head[at:])
		case at >= w.size:
			return n, io.EOF
		case at >= tail:
			got, err = bytes.NewReader(w.tail).ReadAt(rest, at-tail)
		default:
			i, found := slices.BinarySearchFunc(w.pieces, at, func(p piece, at int64) int { return cmp.Compare(p.at, at) })
			if !found {
				i--
			}
			end := tail
			if i+1 < len(w.pieces) {
				end = w.pieces[i+1].at
			}
			rest = rest[:min(int64(len(rest)), end-at)]
			if got, err = r.files[w.pieces[i].file].ReadAt(rest, w.pieces[i].offset+at-w.pieces[i].at); got < len(rest) {
				err = nodefile.NoEOF(err)
			} else {
				err = nil
			}
		}
		n += got
	}
	return n, err
}
