package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
)

// unpacker writes what is in an archive.
type unpacker struct {
	t      Tree
	to     string
	rename string          // what the archive's only top entry is called in place of this; "": what it is
	top    string          // that entry
	made   map[string]bool // directories that are there

	steps []Step
	held  int // bytes in them
	count int
	bytes int64
}

// Unpack writes what is in an archive to an absolute path of an instance: into it, where that
// is a directory, or else as it, where all in the archive is one file or directory. What is
// there is replaced, directories are joined. Links stay links; owners and times are the
// instance's own. After an error what was written by then is there.
func Unpack(ctx context.Context, t Tree, to string, r io.Reader) error {
	clean, err := absolute(to)
	if err != nil {
		return err
	}
	u := &unpacker{t: t, to: clean, made: map[string]bool{}}
	e, err := look(ctx, t, "follow", clean)
	if isDir := err == nil && e.Type == "directory"; !isDir {
		if err != nil && !errors.Is(err, ErrFiles) {
			return err
		}
		if strings.HasSuffix(to, "/") {
			return fmt.Errorf("%.200q is no directory: %w", to, ErrFiles)
		}
		u.to, u.rename = path.Dir(clean), path.Base(clean)
		if e, err := look(ctx, t, "follow", u.to); err != nil || e.Type != "directory" {
			return errors.Join(err, fmt.Errorf("%.200q is no directory: %w", u.to, ErrFiles))
		}
	}
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = u.entry(ctx, h, archive)
		}
		if err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
	}
	return u.flush(ctx)
}

// place is where an entry goes in the instance.
func (u *unpacker) place(name string) (string, error) {
	name = path.Clean(name)
	if !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("entry %.200q leads out of the directory that it is unpacked in: %w", name, ErrFiles)
	}
	top, rest, below := strings.Cut(name, "/")
	if u.rename != "" {
		if top == "." || u.top != "" && u.top != top {
			return "", fmt.Errorf("entries %.100q and %.100q, and %q is no directory to put them in: %w", u.top, top, path.Join(u.to, u.rename), ErrFiles)
		}
		u.top, top = top, u.rename
	}
	at := path.Join(u.to, top)
	if below {
		at = path.Join(at, rest)
	}
	if len(at) > maxPath {
		return "", fmt.Errorf("entry %.100q: its path has %d bytes, at most %d are allowed: %w", name, len(at), maxPath, ErrFiles)
	}
	return at, nil
}

func (u *unpacker) entry(ctx context.Context, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	u.count++
	if u.count > MaxEntries || h.Size > MaxBytes-u.bytes {
		return fmt.Errorf("it has more than %d entries or %d bytes: copy it in parts: %w", MaxEntries, MaxBytes, ErrFiles)
	}
	u.bytes += h.Size
	at, err := u.place(h.Name)
	if err != nil {
		return err
	}
	if err := u.parents(ctx, at); err != nil {
		return err
	}
	mode := uint32(h.Mode & 0o777)
	switch h.Typeflag {
	case tar.TypeDir:
		return u.directory(ctx, at, mode)
	case tar.TypeSymlink:
		return u.step(ctx, Step{Do: "link", Path: at, Link: h.Linkname})
	case tar.TypeReg:
		return u.file(ctx, at, mode, h.Size, content)
	}
	return fmt.Errorf("entry %.200q is of type %q: only files, directories and symbolic links are copied: %w", h.Name, h.Typeflag, ErrFiles)
}

// parents makes the directories that an archive leaves out.
func (u *unpacker) parents(ctx context.Context, at string) error {
	dir := path.Dir(at)
	if dir == u.to || u.made[dir] || len(dir) < len(u.to) {
		return nil
	}
	if err := u.parents(ctx, dir); err != nil {
		return err
	}
	return u.directory(ctx, dir, 0o755)
}

func (u *unpacker) directory(ctx context.Context, at string, mode uint32) error {
	if at == u.to || u.made[at] {
		return nil
	}
	u.made[at] = true
	return u.step(ctx, Step{Do: "make", Path: at, Mode: mode})
}

func (u *unpacker) file(ctx context.Context, at string, mode uint32, size int64, content io.Reader) error {
	for done := int64(0); ; {
		data := make([]byte, min(chunk, size-done))
		if _, err := io.ReadFull(content, data); err != nil {
			return err
		}
		if err := u.step(ctx, Step{Do: "write", Path: at, At: done, Mode: mode, Data: data}); err != nil {
			return err
		}
		if done += int64(len(data)); done >= size {
			return nil
		}
	}
}

// step has something done, soon.
func (u *unpacker) step(ctx context.Context, s Step) error {
	if len(u.steps) == maxSteps || u.held+len(s.Data) > chunk && len(u.steps) > 0 {
		if err := u.flush(ctx); err != nil {
			return err
		}
	}
	u.steps, u.held = append(u.steps, s), u.held+len(s.Data)
	return nil
}

func (u *unpacker) flush(ctx context.Context) error {
	steps := u.steps
	u.steps, u.held = nil, 0
	if len(steps) == 0 {
		return nil
	}
	_, err := do(ctx, u.t, steps)
	return err
}
