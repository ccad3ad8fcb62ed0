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
	"maps"
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
	h, err := s.layers().AddTar(ctx, write, layer.AddOptions{MaxBytes: most})
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

func (s Store) build(ctx context.Context, img *images.Image, add []Layer) (digest string, err error) {
	base, err := images.OpenBase(img)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	c := img.Config()
	spec := images.Spec{
		Name: c.Name, Program: c.Program, Argv: c.Argv, Env: c.Env, MemoryBytes: c.MemoryBytes, Kernel: guest.Kernel(), Base: base,
		Driver: c.Driver, Runtimes: c.Runtimes, NoDirectCalls: !c.DirectCalls, Packages: c.Packages,
		Labels: map[string]string{}, Container: c.Container, User: c.User, Origin: c.Origin,
	}
	maps.Copy(spec.Labels, c.Labels)
	n := 0
	for k := range c.Labels {
		if strings.HasPrefix(k, LabelPrefix) { // of what img was derived with
			n++
		}
	}
	for _, l := range add {
		n++
		spec.Labels[fmt.Sprintf("%s%03d", LabelPrefix, n)] = fmt.Sprintf("%s %s", l.Name, l.Digest)
		opened, err := s.layers().Open(l.Digest)
		if err != nil {
			return "", err
		}
		defer opened.Close()
		spec.Layers = append(spec.Layers, opened)
	}
	info, err := s.Images.Add(ctx, spec, images.AddOptions{NoTag: true, Layered: true, Progress: s.Progress})
	return info.Digest.String(), err
}
