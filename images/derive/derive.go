// Package derive makes an image of another one with further layers above its root: what
// functions bring that is not their own code. Each layer is stored once, whichever images
// name it, and an image that was derived from the same before is not built again.
//
// Units: sizes in bytes. Paths of added files are guest paths without the leading slash.
//
// Determinism: a layer's bytes depend on the names, modes and content of its files alone:
// times and owners are left out. A package that was installed twice is one layer, and one
// of the same name and version with another content is another.
//
// It keeps no state and has no locks; layers and images appear whole, see package images.
package derive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"seuss/guest"
	"seuss/images"
	"seuss/images/layer"
)

// Layer is what comes above an image's root.
type Layer struct {
	Name   string // for people
	Digest layer.Digest
	Bytes  int64 // of its files
}

// LabelPrefix begins the labels of a derived image that name its further layers.
const LabelPrefix = "seuss.layer."

// Store is where layers and images are.
type Store struct {
	Images images.Store
	// Progress is told how far a build is; it may be nil.
	Progress func(done, total int64, what string)
}

func (s Store) layers() layer.Store {
	return layer.Store{Dir: filepath.Join(s.Images.Dir, layer.DirName)}
}

// Add makes a layer of what write writes, of at most so many bytes, unless there is the same.
func (s Store) Add(ctx context.Context, name string, most int64, write func(*tar.Writer) error) (Layer, error) {
	r, w := io.Pipe()
	go func() { // ends with the files, or when r is closed
		t := tar.NewWriter(w)
		err := write(t)
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	h, err := s.layers().Add(ctx, r, layer.AddOptions{MaxBytes: most})
	r.Close()
	if err != nil {
		return Layer{}, fmt.Errorf("layer %s: %w", name, err)
	}
	return Layer{name, h.Digest, int64(h.Unpacked)}, nil
}

// Image returns the digest of the image that is the one called ref with further layers
// above it, the lowest first.
func (s Store) Image(ctx context.Context, ref string, add []Layer) (digest string, err error) {
	file, err := s.Images.Find(ref)
	if err != nil {
		return "", err
	}
	base, err := images.Open(file, images.SkipDigest())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	var key strings.Builder
	fmt.Fprintf(&key, "%s abi=%d kernel=%x", base.Digest(), guest.KernelVersion, kernelDigest())
	for _, l := range add {
		fmt.Fprintf(&key, " %s", l.Digest)
	}
	if _, origin, err := s.Images.FindOrigin(key.String()); err == nil {
		return origin.Image, nil
	} else if !errors.Is(err, images.ErrNotFound) {
		return "", err
	}
	if digest, err = s.build(ctx, base, add); err != nil {
		return "", fmt.Errorf("derive from image %s: %w", ref, err)
	}
	return digest, s.Images.SetOrigin(images.Origin{
		Key: key.String(), Reference: "derived:" + base.Digest().String(), Digest: base.Digest().String(), Image: digest, Built: time.Now(),
	})
}

func (s Store) build(ctx context.Context, base *images.Image, add []Layer) (digest string, err error) {
	root, err := s.Add(ctx, base.Config().Name, 0, func(t *tar.Writer) error { return writeImage(t, base) })
	if err != nil {
		return "", err
	}
	c := base.Config()
	spec := images.Spec{
		Name: c.Name, Program: c.Program, Argv: c.Argv, Env: c.Env, MemoryBytes: c.MemoryBytes, Kernel: guest.Kernel(),
		Driver: c.Driver, Runtimes: c.Runtimes, NoDirectCalls: !c.DirectCalls, Packages: c.Packages,
		Labels: map[string]string{}, Container: c.Container, Origin: c.Origin,
	}
	for k, v := range c.Labels {
		spec.Labels[k] = v
	}
	for n, l := range add {
		spec.Labels[fmt.Sprintf("%s%03d", LabelPrefix, n+1)] = fmt.Sprintf("%s %s", l.Name, l.Digest)
	}
	for _, l := range append([]Layer{root}, add...) {
		opened, err := s.layers().Open(l.Digest)
		if err != nil {
			return "", err
		}
		defer opened.Close()
		spec.Layers = append(spec.Layers, opened)
	}
	info, err := s.Images.Add(ctx, spec, images.AddOptions{NoTag: true, Progress: s.Progress})
	return info.Digest.String(), err
}

// writeImage writes the root file system of an image.
func writeImage(t *tar.Writer, m *images.Image) error {
	names := map[uint32]string{} // of files by inode: a further name is a hard link
	return m.Walk(func(e images.Entry) error {
		h := &tar.Header{
			Name: strings.TrimPrefix(e.Path, "/"), Mode: int64(e.Inode.Mode & 0o7777),
			ModTime: time.Unix(int64(e.Inode.Mtime), 0), Format: tar.FormatPAX, Uid: int(e.Inode.UID), Gid: int(e.Inode.GID),
		}
		first, linked := names[e.Number]
		switch {
		case e.Inode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case linked:
			h.Typeflag, h.Linkname = tar.TypeLink, first
		case e.Inode.IsSymlink():
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(e.Inode.Size)
			names[e.Number] = h.Name
		}
		if strings.HasPrefix(path.Base(h.Name), layer.WhiteoutPrefix) {
			return fmt.Errorf("%s: no layer holds a name that begins with %s", e.Path, layer.WhiteoutPrefix)
		}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
		if h.Typeflag != tar.TypeReg {
			return nil
		}
		content, err := m.Content(e)
		if err == nil {
			_, err = io.Copy(t, content)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
		return nil
	})
}
