// Package source is the list of the places that a root file system can come from. Each
// has a folder below, which registers it under the scheme of its references:
//
//	debian:PACKAGE,...   files of this host's own packages
//	dir:PATH             a directory
//	docker: and others   container images, see package oci
//
// A source of another kind is a folder with an init that calls [Register], and one line
// in images/source/all.
//
// Ownership: what [Open] returns belongs to the caller, who closes the Tree once the
// image is built. Locks: none, because registration ends before main begins.
package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"seuss/images"
	"seuss/images/layer"
)

// Source finds what the references of one scheme lead to.
type Source struct {
	Scheme string // without the colon
	Usage  string // of what follows it, for help
	// Find returns what is behind a reference, whose scheme is cut off. It fetches no more
	// than says which one that is.
	Find func(ctx context.Context, ref string, o Options) (*Found, error)
}

// Options are for all sources; one ignores what it does not know.
type Options struct {
	// Root is the host directory of the file system that host packages are collected
	// from; "" = the host's own.
	Root string
	// Packages are further packages of the host, for sources that collect such.
	Packages []string
	// InsecureRegistries are hosts, each with its port if it has one, that may be spoken to
	// without TLS, or with a certificate that nobody vouches for.
	InsecureRegistries []string
	// Layers is where sources of layers keep them; one that is there is not fetched again.
	Layers layer.Store
	// MaxBytes bounds what is unpacked; 0 = DefaultMaxBytes.
	MaxBytes int64
	// Progress, if not nil, is told what is being done, and how far it is, from 0 to 1;
	// below 0 is unknown.
	Progress func(what string, done float64)
}

// ErrNoPackages: this host has no packages to make an image of, as a container that holds one
// program has none.
var ErrNoPackages = errors.New("this host has no packages")

// DefaultMaxBytes bounds a root file system: the largest that a guest can have.
const DefaultMaxBytes = 64 << 30

// Tell tells Progress, if there is one.
func (o *Options) Tell(what string, done float64) {
	if o.Progress != nil {
		o.Progress(what, done)
	}
}

// Found is a root file system that a reference leads to now.
type Found struct {
	Name string // that suits an image; "" = none
	// Digest identifies the tree and its Config, such as that of a manifest: what has an
	// equal one need not be built again.
	Digest string
	// Open returns it. It can be called once.
	Open func(ctx context.Context) (*Tree, Config, error)
}

// Tree is a root file system, to be built into an image.
type Tree struct {
	Layers   []*layer.Layer // the lowest first
	Files    []images.File  // above them; directories that only paths imply may be missing
	Packages []string       // what it was made from, as name=version
	Digest   string         // of what it came from, such as the manifest of this platform
	Skipped  int            // devices, sockets and FIFOs that an image cannot hold
}

// Close closes the layers.
func (t *Tree) Close() (err error) {
	for _, l := range t.Layers {
		err = errors.Join(err, l.Close())
	}
	return err
}

// Spec returns what an image of the tree is built from; the name, the kernel library and
// what is added belong to the caller.
func (t *Tree) Spec(c Config) images.Spec {
	spec := images.Spec{
		Env: c.Env, Layers: t.Layers, Files: images.WithMountPoints(t.Files), Packages: t.Packages, Skipped: t.Skipped,
		Container: &c.Container, Origin: t.Digest, Labels: map[string]string{},
	}
	for k, v := range c.Labels {
		if !strings.HasPrefix(k, ownLabels) {
			spec.Labels[k] = v
		}
	}
	// A container's working directory is made where no layer has it.
	if dir := c.Dir(); !t.has(dir) {
		spec.Files = append(spec.Files, images.File{GuestPath: dir, Mode: fs.ModeDir | 0o755})
	}
	return spec
}

// ownLabels begin with this; nobody else gives such.
const ownLabels = "seuss."

// has reports whether a path, or something below it, is named by the tree.
func (t *Tree) has(p string) bool {
	rel := strings.TrimPrefix(p, "/")
	for _, l := range t.Layers {
		for e := range l.Entries() {
			if e.File != nil && (e.Path == rel || strings.HasPrefix(e.Path, rel+"/")) {
				return true
			}
		}
	}
	return rel == "" || slices.ContainsFunc(t.Files, func(f images.File) bool { return f.GuestPath == p || strings.HasPrefix(f.GuestPath, p+"/") })
}

// Config is what a source says of the program, as far as it does.
type Config struct {
	images.Container
	Env    []string
	Labels map[string]string
}

var all []*Source

// Register adds a source. A folder calls it from its init.
func Register(s *Source) {
	if s.Scheme == "" || s.Find == nil || slices.ContainsFunc(all, func(o *Source) bool { return o.Scheme == s.Scheme }) {
		panic(fmt.Sprintf("source %q is incomplete or registered twice", s.Scheme))
	}
	all = append(all, s)
	slices.SortFunc(all, func(a, b *Source) int { return strings.Compare(a.Scheme, b.Scheme) })
}

// All returns the sources, sorted by scheme.
func All() []*Source { return slices.Clone(all) }

// IsReference tells a reference from an image's name, which has no colon.
func IsReference(text string) bool { return strings.Contains(text, ":") }

// Find finds what a reference with its scheme leads to.
func Find(ctx context.Context, reference string, o Options) (*Found, error) {
	scheme, ref, _ := strings.Cut(reference, ":")
	var known []string
	for _, s := range all {
		if s.Scheme == scheme {
			found, err := s.Find(ctx, ref, o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", reference, err)
			}
			open := found.Open
			found.Open = func(ctx context.Context) (*Tree, Config, error) {
				tree, config, err := open(ctx)
				if err != nil {
					return nil, Config{}, fmt.Errorf("%s: %w", reference, err)
				}
				return tree, config, nil
			}
			return found, nil
		}
		known = append(known, s.Scheme+":"+s.Usage)
	}
	return nil, fmt.Errorf("%s: no source has the scheme %q; there are %s", reference, scheme, strings.Join(known, ", "))
}
