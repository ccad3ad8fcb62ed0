package layer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"seuss/lineage/sealed"
)

// DirName is the directory of the layers, in that of the images.
const DirName = "layers"

// staleAge is when a temporary file cannot belong to a writer that still runs, and when a
// layer that no image names cannot be about to be named.
const staleAge = 24 * time.Hour

// diffSuffix ends the name of a file that says which layer was made of a tar stream.
const diffSuffix = ".diff"

var files = sealed.NewUnlocked(".layer-", staleAge)

// Store is a directory of layers: <digest>.layer holds a layer, <diff id>.diff the digest
// of the layer that was made of the tar stream with this SHA-256. Each layer is there
// once, however many images name it; a layer never changes.
type Store struct{ Dir string }

// AddOptions bound what Add takes.
type AddOptions struct {
	// DiffID is the SHA-256 of the tar stream, as a container image's configuration says
	// it, with or without "sha256:"; "" = any stream.
	DiffID string
	// MaxBytes bounds the bytes of the regular files; 0 = no bound but the format's.
	MaxBytes int64
}

// Add makes a layer of a tar stream that is not compressed, unless there is the same
// already, and returns its header. The stream is read to its end, once, and nothing is
// unpacked. When Add fails nothing of it is left. The errors wrap ErrTar, ErrTooLarge and
// ErrDiffID where the stream is to blame.
func (s Store) Add(ctx context.Context, tar io.Reader, o AddOptions) (*Header, error) {
	h, err := s.add(ctx, tar, o)
	if err != nil {
		return nil, fmt.Errorf("add layer: %w", Full(s.Dir, err))
	}
	return h, nil
}

func (s Store) add(ctx context.Context, tar io.Reader, o AddOptions) (*Header, error) {
	var want Digest
	if o.DiffID != "" {
		var err error
		if want, err = parseDiffID(o.DiffID); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(s.Dir, sealed.DirMode); err != nil {
		return nil, fmt.Errorf("make layer store: %w", err)
	}
	if err := files.Sweep(s.Dir); err != nil {
		return nil, err
	}
	p, err := files.New(s.Dir)
	if err != nil {
		return nil, err
	}
	defer p.Discard()
	back, err := os.Open(p.Name())
	if err != nil {
		return nil, err
	}
	defer back.Close()
	limit := uint64(math.MaxInt64)
	if o.MaxBytes > 0 {
		limit = uint64(o.MaxBytes)
	}
	w := newWriter(struct {
		io.WriterAt
		io.ReaderAt
	}{p, back}, limit)
	diffID, err := w.fromTar(ctx, tar)
	if err != nil {
		return nil, err
	}
	if o.DiffID != "" && diffID != want {
		return nil, fmt.Errorf("%w: the archive has %v, promised was %v", ErrDiffID, diffID, want)
	}
	h, err := w.finish(ctx, diffID)
	if err != nil {
		return nil, err
	}
	// The reader's own rules decide whether the writer kept them.
	if _, err := decode(back, h.Total, false); err != nil {
		return nil, fmt.Errorf("check the layer just made: %w", err)
	}
	return h, s.publish(p, h)
}

// publish gives a layer its name, and notes what it was made of.
func (s Store) publish(p *sealed.Pending, h *Header) error {
	path := s.Path(h.Digest)
	if err := touch(path); err != nil {
		if err := p.Seal(); err != nil {
			return err
		}
		if err := p.Publish(path); err != nil {
			return err
		}
	}
	return files.WriteFile(filepath.Join(s.Dir, h.DiffID.String()+diffSuffix), []byte(h.Digest.String()+"\n"))
}

// Receive reads a layer's file, of at most so many bytes, from a stream that goes on behind
// it, and returns how long it is. It is verified completely before it gets its name, and only
// read where the store has it.
func (s Store) Receive(ctx context.Context, r io.Reader, want Digest, most int64) (n int64, err error) {
	n, err = s.receive(ctx, r, want, most)
	if err != nil {
		return n, fmt.Errorf("receive layer %v: %w", want, err)
	}
	return n, nil
}

func (s Store) receive(ctx context.Context, r io.Reader, want Digest, most int64) (int64, error) {
	head := make([]byte, headerBytes)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	var h Header
	// Of a file that goes on for as long as its header says.
	if err := readHeader(bytes.NewReader(head), binary.LittleEndian.Uint64(head[16:]), &h); err != nil {
		return 0, err
	}
	if h.Digest != want || h.Total > math.MaxInt64 || int64(h.Total) > most {
		return 0, corrupt("its header says digest %v and %d bytes, of which %d are there", h.Digest, h.Total, most)
	}
	total := int64(h.Total)
	rest := io.LimitReader(r, total-headerBytes)
	path := s.Path(want)
	if touch(path) == nil {
		n, err := io.Copy(io.Discard, rest)
		if err == nil && n != total-headerBytes {
			err = ErrTruncated
		}
		return total, err
	}
	if err := os.MkdirAll(s.Dir, sealed.DirMode); err != nil {
		return 0, fmt.Errorf("make layer store: %w", err)
	}
	p, err := files.New(s.Dir)
	if err != nil {
		return 0, err
	}
	defer p.Discard()
	if n, err := io.Copy(p, io.MultiReader(bytes.NewReader(head), rest)); err != nil {
		return 0, fmt.Errorf("after %d of %d bytes: %w", n, total, err)
	}
	l, err := Open(p.Name())
	if err != nil {
		return 0, err
	}
	if err := errors.Join(l.Verify(ctx), l.Close()); err != nil {
		return 0, err
	}
	return total, s.publish(p, &h)
}

// Keep keeps a layer from being collected for a while: an image is about to name it.
func (s Store) Keep(d Digest) error {
	err := touch(s.Path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %v in %s", ErrNotFound, d, s.Dir)
	}
	return err
}

func touch(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

func parseDiffID(id string) (Digest, error) {
	d, err := ParseDigest(strings.TrimPrefix(id, "sha256:"))
	if err != nil {
		return d, fmt.Errorf("diff id: %w", err)
	}
	return d, nil
}

// Path is where a layer is, or would be.
func (s Store) Path(d Digest) string { return filepath.Join(s.Dir, d.String()+Suffix) }

// Find returns the digest of the layer that was made of the tar stream with this SHA-256,
// with or without "sha256:". There is such a layer, and this program reads it; else the
// error wraps ErrNotFound.
func (s Store) Find(diffID string) (Digest, error) {
	id, err := parseDiffID(diffID)
	if err != nil {
		return Digest{}, err
	}
	missing := func(why error) (Digest, error) {
		return Digest{}, fmt.Errorf("layer of diff id %v in %s: %w: %w", id, s.Dir, ErrNotFound, why)
	}
	text, err := sealed.ReadFile(filepath.Join(s.Dir, id.String()+diffSuffix), 2*int64(len(Digest{}))+1)
	if errors.Is(err, fs.ErrNotExist) {
		return missing(err)
	} else if err != nil {
		return Digest{}, err
	}
	d, err := ParseDigest(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return missing(err)
	}
	h, err := s.Header(d)
	if err == nil && h.DiffID != id {
		err = fmt.Errorf("it is of diff id %v", h.DiffID)
	}
	if err == nil {
		err = touch(s.Path(d))
	}
	if err != nil {
		return missing(err)
	}
	return d, nil
}

// Header reads the header of a layer, and nothing else.
func (s Store) Header(d Digest) (h Header, err error) {
	f, err := os.Open(s.Path(d))
	if err != nil {
		return h, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return h, err
	}
	if err = readHeader(f, uint64(st.Size()), &h); err == nil && h.Digest != d {
		err = corrupt("its header says digest %v", h.Digest)
	}
	return h, err
}

// Open opens a layer, whose header must say the digest.
func (s Store) Open(d Digest) (*Layer, error) {
	l, err := Open(s.Path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %v in %s", ErrNotFound, d, s.Dir)
	} else if err != nil {
		return nil, err
	}
	if l.Digest() != d {
		l.Close()
		return nil, fmt.Errorf("open layer %s: %w", l.path, corrupt("its header says digest %v", l.Digest()))
	}
	return l, nil
}

// Stored describes one layer of a Store.
type Stored struct {
	Digest Digest
	Header Header
	Disk   int64     // bytes that it takes on disk
	Used   time.Time // when it was added, found or kept, last
	Err    error     // why it cannot be used; Header is zero then
}

// List returns the layers by digest. A store that does not exist yet is empty.
func (s Store) List() ([]Stored, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list layers: %w", err)
	}
	var out []Stored
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), Suffix)
		d, err := ParseDigest(name)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		} else if err != nil {
			return nil, fmt.Errorf("list layers: %w", err)
		}
		item := Stored{Digest: d, Disk: diskBytes(info), Used: info.ModTime()}
		item.Header, item.Err = s.Header(d)
		if item.Err != nil {
			item.Header = Header{}
		}
		out = append(out, item)
	}
	slices.SortFunc(out, func(a, b Stored) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	return out, nil
}

// Collect removes the layers that used does not hold and that nobody has added or found
// for a day, or for the time given if it is not 0, and returns those that it removed.
// Machines that run from them keep their mappings.
func (s Store) Collect(used map[Digest]bool, unusedFor time.Duration) ([]Stored, error) {
	if unusedFor == 0 {
		unusedFor = staleAge
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var gone []Stored
	for _, l := range list {
		if used[l.Digest] || time.Since(l.Used) < unusedFor {
			continue
		}
		if err := os.Remove(s.Path(l.Digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return gone, fmt.Errorf("remove layer: %w", err)
		}
		// A note that leads nowhere does no harm, if this fails.
		_ = os.Remove(filepath.Join(s.Dir, l.Header.DiffID.String()+diffSuffix))
		gone = append(gone, l)
	}
	if len(gone) > 0 {
		if err := files.SyncDir(s.Dir); err != nil {
			return gone, fmt.Errorf("remove layers: %w", err)
		}
	}
	return gone, nil
}
