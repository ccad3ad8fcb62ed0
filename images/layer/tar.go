package layer

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// AddTar is Add of what write writes.
func (s Store) AddTar(ctx context.Context, write func(*tar.Writer) error, o AddOptions) (*Header, error) {
	r, w := io.Pipe()
	go func() { // ends with what is written, or when r is closed
		t := tar.NewWriter(w)
		err := write(t)
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	defer r.Close()
	return s.Add(ctx, r, o)
}

// Names with a meaning, which container images give to what hides files below.
const (
	WhiteoutPrefix = ".wh." // begins the name of an entry that hides another one
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// maxHeaders bounds what is read of a stream, with what is left out, by the entries that
// a layer may have.
const maxHeaders = 4

// fromTar reads a whole tar stream into a layer, and returns the stream's SHA-256.
func (w *writer) fromTar(ctx context.Context, r io.Reader) (diffID Digest, err error) {
	sum := sha256.New()
	// A stream is longer than its content: by headers, and by as much as it likes
	// behind its end.
	stream := &limited{r: io.TeeReader(r, sum), ctx: ctx, left: w.limit + w.limit/8 + maxHeaders*uint64(w.most)*1024}
	tr := tar.NewReader(stream)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return diffID, tarError(err)
		}
		if n >= maxHeaders*w.most {
			return diffID, fmt.Errorf("%w: more than %d entries", ErrTooLarge, maxHeaders*w.most)
		}
		if err := w.entry(h, tr); err != nil {
			return diffID, fmt.Errorf("entry %.200q: %w", h.Name, err)
		}
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return diffID, tarError(err)
	}
	sum.Sum(diffID[:0])
	return diffID, nil
}

// tarError tells damage of the format, for which package tar has no type, from that of
// the stream below.
func tarError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, tar.ErrInsecurePath) {
		return fmt.Errorf("%w: %w", ErrTar, err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the archive ends early: %w", ErrTar, err)
	}
	return fmt.Errorf("read archive: %w", err)
}

// limited ends with an error where a stream goes on for too long.
type limited struct {
	r    io.Reader
	ctx  context.Context
	left uint64
}

func (l *limited) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left == 0 {
		return 0, fmt.Errorf("%w: the archive goes on", ErrTooLarge)
	}
	n, err := l.r.Read(p[:min(uint64(len(p)), l.left)])
	l.left -= uint64(n)
	return n, err
}

// cleanPath is the path of an entry, "" for the root. A path that leads out of the root
// is refused: no archive needs one.
func cleanPath(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("%w: its name contains a NUL", ErrTar)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: its name leads upwards", ErrTar)
		}
		if len(part) > 255 {
			return "", fmt.Errorf("%w: a part of its name has %d bytes, at most 255 fit", ErrTar, len(part))
		}
	}
	p := strings.TrimPrefix(path.Clean("/"+name), "/")
	if len(p) > maxPath {
		return "", fmt.Errorf("%w: its name has %d bytes, at most %d fit", ErrTar, len(p), maxPath)
	}
	return p, nil
}

// entry takes one entry of the stream.
func (w *writer) entry(h *tar.Header, r io.Reader) error {
	p, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	if dir, base := path.Split(p); strings.HasPrefix(base, WhiteoutPrefix) {
		return w.whiteout(strings.TrimSuffix(dir, "/"), base)
	}
	rec := inode{
		Mode: uint32(h.Mode) & 0o7777, UID: uint32(h.Uid), GID: uint32(h.Gid),
		Mtime: uint64(min(max(h.ModTime.Unix(), 0), 1<<33)), // Linux's own end is about there
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > 1<<32-2 || int64(h.Gid) > 1<<32-2 {
		return fmt.Errorf("%w: owner %d:%d", ErrTar, h.Uid, h.Gid)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		rec.Mode |= ModeDir
		return w.put(p, rec, "")
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxTarget || strings.IndexByte(h.Linkname, 0) >= 0 {
			return fmt.Errorf("%w: a link target of %d bytes is no path", ErrTar, len(h.Linkname))
		}
		rec.Mode |= ModeSymlink
		return w.put(p, rec, h.Linkname)
	case tar.TypeLink:
		target, err := cleanPath(h.Linkname)
		if err != nil {
			return fmt.Errorf("hard link to %.200q: %w", h.Linkname, err)
		}
		if target == "" || target == p {
			return fmt.Errorf("%w: a hard link to %.200q", ErrTar, h.Linkname)
		}
		return w.link(p, target)
	case tar.TypeReg, tar.TypeGNUSparse, '\x00', '7': // '7': contiguous, as in tar's own TypeCont
		rec.Mode |= ModeRegular
		if h.Size < 0 {
			return fmt.Errorf("%w: its size is %d", ErrTar, h.Size)
		}
		if err := w.content(&rec, uint64(h.Size), r); err != nil {
			return err
		}
		return w.put(p, rec, "")
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		w.skipped++
		return nil
	case tar.TypeXGlobalHeader:
		return nil
	}
	return fmt.Errorf("%w: it is of type %q, which is no file", ErrTar, h.Typeflag)
}

// whiteout takes an entry that hides what layers below have.
func (w *writer) whiteout(dir, base string) error {
	switch {
	case base == whiteoutOpaque:
		return w.flag(dir, flagOpaque)
	case strings.HasPrefix(base, whiteoutMeta): // of AUFS; means nothing here
		return nil
	case base == WhiteoutPrefix, base == WhiteoutPrefix+".", base == WhiteoutPrefix+"..":
		return fmt.Errorf("%w: a whiteout of nothing", ErrTar)
	}
	return w.flag(path.Join(dir, strings.TrimPrefix(base, WhiteoutPrefix)), flagHides)
}
