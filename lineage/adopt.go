package lineage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"seuss/images/layer"
	"seuss/lineage/imagefile"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed"
)

// Transfer takes nodes and images out of a Store, and into it from elsewhere.
type Transfer struct{ store *Store }

// Transfer returns what moves nodes between stores.
func (s *Store) Transfer() Transfer { return Transfer{s} }

// Portable is a node's file as it is exported: in the form "differences" where the
// node can take it, so that it is small and its bytes are the same whichever store
// it comes from, and else with all pages in it.
type Portable struct {
	Info  nodefile.Info
	Size  int64
	bytes []byte // or
	path  string // or
	whole *wholeFile
}

// Open returns the content.
func (p *Portable) Open() (io.ReadSeekCloser, error) {
	if p.whole != nil {
		return p.whole.open()
	}
	if p.path == "" {
		return memoryFile{io.NewSectionReader(nodefile.Bytes(p.bytes), 0, p.Size)}, nil
	}
	f, err := os.Open(p.path)
	if err != nil {
		return nil, fmt.Errorf("read node %s: %w", p.Info.ID, err)
	}
	return f, nil
}

type memoryFile struct{ *io.SectionReader }

func (memoryFile) Close() error { return nil }

// Export returns the file of the node with this exact id. What it returns stays
// valid only as long as the node is there.
func (s Transfer) Export(id string) (*Portable, error) {
	p, err := s.export(id)
	if err != nil {
		return nil, fmt.Errorf("export node %s: %w", id, err)
	}
	return p, nil
}

// File returns the file of the node with this exact id as it lies here, whatever its form: what
// is quickest to read and to use, where Export gives what is smallest. A node of which other
// nodes' files have pages is put together. What it returns stays valid only as long as the node
// is there and is not written anew.
func (s Transfer) File(id string) (*Portable, error) {
	p, err := s.file(id)
	if err != nil {
		return nil, fmt.Errorf("file of node %s: %w", id, err)
	}
	return p, nil
}

// header reads that of a node's file.
func (s Transfer) header(id string) (*Node, *nodefile.Header, error) {
	if err := s.store.usable(); err != nil {
		return nil, nil, err
	}
	n := s.store.lookup(id)
	if n == nil {
		return nil, nil, ErrNotFound
	}
	f, h, err := openNodeFile(s.store.nodePath(id))
	if err != nil {
		return nil, nil, err
	}
	return n, h, f.Close()
}

func (s Transfer) file(id string) (*Portable, error) {
	n, h, err := s.header(id)
	if err != nil {
		return nil, err
	}
	if h.Version == nodefile.VersionDonors {
		return s.exportWhole(n)
	}
	return &Portable{Info: n.Info, Size: int64(h.Total), path: s.store.nodePath(id)}, nil
}

func (s Transfer) export(id string) (*Portable, error) {
	n, h, err := s.header(id)
	if err != nil {
		return nil, err
	}
	switch {
	case h.Form == nodefile.FormPages && CanTakeForm(n, nodefile.FormDifferences):
	case h.Version == nodefile.VersionDonors:
		return s.exportWhole(n)
	default:
		return &Portable{Info: n.Info, Size: int64(h.Total), path: s.store.nodePath(id)}, nil
	}
	parent, err := s.store.Snapshot(n.Parent)
	if err != nil {
		return nil, err
	}
	own, err := s.store.Snapshot(id)
	if err != nil {
		return nil, err
	}
	info := n.Info
	w, x, err := sealer{s.store}.writeDelta(os.TempDir(), &info, nodefile.FormDifferences, parent, own)
	if err != nil {
		return nil, err
	}
	defer w.discard()
	if _, err := w.complete(&info, &parent.Node.Info, own.State, x); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(w.Name())
	if err != nil {
		return nil, err
	}
	return &Portable{Info: n.Info, Size: int64(len(b)), bytes: b}, nil
}

// Adopt stores a node file of size bytes that comes from elsewhere. Its parent
// must be in the store, and for an image node the image file. Everything is
// checked as by Verify before the node shows; check, which may be nil, is asked
// before that whether a node of this description is wanted. The file is hostile:
// reading it takes memory of the order of what it unpacks to, which its header
// bounds.
func (s Transfer) Adopt(r io.Reader, size int64, check func(*nodefile.Info) error) (*Node, error) {
	n, err := s.adopt(r, size, check)
	if err != nil {
		return nil, fmt.Errorf("adopt node: %w", err)
	}
	return n, nil
}

func (s Transfer) adopt(r io.Reader, size int64, check func(*nodefile.Info) error) (*Node, error) {
	if err := s.store.writable(); err != nil {
		return nil, err
	}
	p, err := sealer{s.store}.receive(s.store.path(nodesDir), r, size)
	if err != nil {
		return nil, err
	}
	defer p.Discard()
	f, h, err := openNodeFile(p.Name())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if h.Version == nodefile.VersionDonors {
		return nil, fmt.Errorf("pages of it lie in other files of the store that it comes from; export it there: %w", nodefile.ErrFormat)
	}
	b, err := h.ReadSection(f, nodefile.SectionMetadata)
	if err != nil {
		return nil, err
	}
	m, err := nodefile.DecodeMetadata(b)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Node, error) { return nil, fmt.Errorf("%.12s (%s): %w", m.ID, m.Kind, err) }
	if known := s.store.lookup(m.ID); known != nil {
		return known, nil
	}
	if m.Kind != nodefile.KindImage {
		parent := s.store.lookup(m.Parent)
		if parent == nil {
			return fail(fmt.Errorf("parent %s: %w", m.Parent, ErrNotFound))
		}
		m.Inherit(&parent.Info)
		if m.ImageDigest != parent.ImageDigest || m.GuestPages != parent.GuestPages {
			return fail(fmt.Errorf("image %.12s of %d guest pages, the parent has %.12s of %d: %w",
				m.ImageDigest, m.GuestPages, parent.ImageDigest, parent.GuestPages, nodefile.ErrIdentity))
		}
	} else if m.InheritCPU {
		return fail(fmt.Errorf("an image node inherits nothing: %w", nodefile.ErrFormat))
	}
	if check != nil {
		if err := check(&m.Info); err != nil {
			return fail(err)
		}
	}
	if err := (Inspection{s.store}).verifyContent(f, h, &m.Info, func(*pages.PageError) {}); err != nil {
		return fail(err)
	}
	w, err := s.shareAdopted(nodeWriter{Pending: p}, f, h, &m.Info)
	if err != nil {
		return fail(err)
	}
	defer w.discard()
	got, err := sealer{s.store}.publishNode(w, &Node{Info: m.Info})
	if err != nil {
		return fail(err)
	}
	return got, nil
}

// shareAdopted writes a node that came whole anew if siblings have pages of it.
func (s Transfer) shareAdopted(w nodeWriter, f *os.File, h *nodefile.Header, info *nodefile.Info) (nodeWriter, error) {
	if h.Form != nodefile.FormPages {
		return w, nil
	}
	x, err := nodefile.ReadIndex(f, h, info)
	if err != nil {
		return w, err
	}
	if w = (sharer{s.store}).share(w, info, x); w.donors == nil {
		return w, nil
	}
	parent := s.store.lookup(info.Parent)
	if parent == nil {
		err = fmt.Errorf("parent was removed meanwhile: %w", ErrNotFound)
	}
	var state []byte
	if err == nil {
		state, err = h.ReadSection(f, nodefile.SectionState)
	}
	if err == nil {
		_, err = w.complete(info, &parent.Info, state, x)
	}
	if err == nil {
		err = Inspection{s.store}.verifyFile(w.Name(), info)
	}
	if err != nil {
		w.discard()
	}
	return w, err
}

// receive copies exactly size bytes into a synced temporary file.
func (s sealer) receive(dir string, r io.Reader, size int64) (_ *sealed.Pending, err error) {
	p, err := s.fs.New(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Discard()
		}
	}()
	n, err := io.Copy(p, io.LimitReader(r, size))
	if err != nil {
		return nil, fmt.Errorf("after %d of %d bytes: %w", n, size, err)
	}
	if n < size {
		return nil, fmt.Errorf("got %d of %d bytes: %w", n, size, nodefile.ErrLength)
	}
	if err := atEnd(r, size); err != nil {
		return nil, err
	}
	return p, p.Seal()
}

// LayerPages is how many pages an image's guests see of its layers; those of its own file
// are the node's delta.
func (s Transfer) LayerPages(n *Node) (count uint64, err error) {
	t, err := imagefile.ReadFile(s.store.ImagePath(n.ImageDigest))
	for i := 0; err == nil && i < len(t.Layers); i++ {
		shown, shownErr := t.Shown(i, n.GuestPages)
		for _, r := range shown {
			count += r.Count
		}
		err = shownErr
	}
	if err != nil {
		return 0, fmt.Errorf("image %s: %w", n.ImageDigest, err)
	}
	return count, nil
}

// ImageFiles returns the files that an image consists of: its own, and those of its layers.
// It travels as imagefile.WriteStream writes them.
func (s Transfer) ImageFiles(digest string) ([]string, error) {
	path := s.store.ImagePath(digest)
	t, err := imagefile.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", digest, err)
	}
	paths := []string{path}
	for _, l := range t.Layers {
		paths = append(paths, layerStore(s.store).Path(layer.Digest(l.Digest)))
	}
	return paths, nil
}

// AdoptImage stores an image under its digest, if there is none yet: the stream of the files
// that ImageFiles lists, size bytes in all, of which no more is written. Layers that are
// there already are not stored again. check is asked about the complete image before it gets
// its name: the store does not know how digests of images are made.
func (s Transfer) AdoptImage(digest string, r io.Reader, size int64, check func(path string) error) error {
	if err := s.adoptImage(digest, r, size, check); err != nil {
		return fmt.Errorf("adopt image %s: %w", digest, err)
	}
	return nil
}

func (s Transfer) adoptImage(digest string, r io.Reader, size int64, check func(path string) error) error {
	if err := s.store.writable(); err != nil {
		return err
	}
	if !nodefile.ValidDigest(digest) {
		return fmt.Errorf("not 64 lower-case hex digits: %w", nodefile.ErrInvalid)
	}
	if _, err := os.Stat(s.store.ImagePath(digest)); !errors.Is(err, fs.ErrNotExist) {
		return err // there, or not to be known
	}
	r, own, err := imagefile.OwnBytes(r, size)
	if err != nil {
		return err
	}
	p, err := sealer{s.store}.receive(s.store.path(imagesDir), io.LimitReader(r, own), own)
	if err != nil {
		return err
	}
	defer p.Discard()
	if err := s.receiveLayers(p.Name(), r, size-own); err != nil {
		return err
	}
	if err := atEnd(r, size); err != nil {
		return err
	}
	if err := check(p.Name()); err != nil {
		return err
	}
	return p.Publish(s.store.ImagePath(digest))
}

// receiveLayers reads the layers of the image whose own file is at path from the left bytes
// of a stream.
func (s Transfer) receiveLayers(path string, r io.Reader, left int64) error {
	t, err := imagefile.ReadFile(path)
	if err != nil {
		return err
	}
	for _, l := range t.Layers {
		n, err := layerStore(s.store).Receive(context.Background(), r, layer.Digest(l.Digest), left)
		if err != nil {
			return err
		}
		padding := imagefile.Padding(n)
		if left -= n + padding; left < 0 {
			return fmt.Errorf("ends within layer %x: %w", l.Digest, nodefile.ErrLength)
		}
		if _, err := io.CopyN(io.Discard, r, padding); err != nil {
			return nodefile.NoEOF(err)
		}
	}
	if left != 0 {
		return fmt.Errorf("%d bytes behind the last layer: %w", left, nodefile.ErrLength)
	}
	return nil
}

// atEnd reads to the end of a stream, where checksums are checked, of which size bytes were
// read and no more may follow.
func atEnd(r io.Reader, size int64) error {
	if extra, err := io.ReadFull(r, make([]byte, 1)); extra > 0 {
		return fmt.Errorf("more than %d bytes: %w", size, nodefile.ErrLength)
	} else if err != io.EOF && err != nil {
		return fmt.Errorf("after %d bytes: %w", size, err)
	}
	return nil
}
