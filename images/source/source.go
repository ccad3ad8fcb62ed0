// Package source is the list of the places that a root file system can come from. Each
// has a folder below, which registers it under the scheme of its references:
//
//	debian:PACKAGE,...   files of this host's own packages
//	dir:PATH             a directory
//
// A source of another kind, such as a registry of container images, is a folder with
// an init that calls [Register], and one line in images/source/all.
//
// Ownership: what [Open] returns belongs to the caller, who closes the Tree once the
// image is built. Locks: none, because registration ends before main begins.
package source

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"seuss/images"
)

// Source opens the references of one scheme.
type Source struct {
	Scheme string // without the colon
	Usage  string // of what follows it, for help
	// Open returns the root file system behind a reference, whose scheme is cut off, and
	// what the source says of the program in it.
	Open func(ctx context.Context, ref string, o Options) (*Tree, Config, error)
}

// Options are for all sources; one ignores what it does not know.
type Options struct {
	// Root is the host directory of the file system that host packages are collected
	// from; "" = the host's own.
	Root string
	// Progress, if not nil, is told what is being done, and how far it is, from 0 to 1;
	// below 0 is unknown.
	Progress func(what string, done float64)
}

// Tree is a root file system, to be built into an image.
type Tree struct {
	Name     string        // that suits an image; "" = none
	Files    []images.File // directories that only paths imply may be missing
	Packages []string      // what it was made from, as name=version
	Digest   string        // of what it came from, such as a manifest's; "" = it has none
	Skipped  int           // devices, sockets and FIFOs that an image cannot hold
	// Release frees what Files lead to, such as unpacked layers; nil = nothing.
	Release func() error
}

// Close releases the tree.
func (t *Tree) Close() error {
	if t.Release == nil {
		return nil
	}
	return t.Release()
}

// Config is what a source says of the program, as far as it does: the fields of an OCI
// image's configuration.
type Config struct {
	Entrypoint   []string
	Cmd          []string
	Env          []string
	WorkingDir   string
	User         string
	Labels       map[string]string
	ExposedPorts []string
	StopSignal   string
}

var all []*Source

// Register adds a source. A folder calls it from its init.
func Register(s *Source) {
	if s.Scheme == "" || s.Open == nil || slices.ContainsFunc(all, func(o *Source) bool { return o.Scheme == s.Scheme }) {
		panic(fmt.Sprintf("source %q is incomplete or registered twice", s.Scheme))
	}
	all = append(all, s)
	slices.SortFunc(all, func(a, b *Source) int { return strings.Compare(a.Scheme, b.Scheme) })
}

// All returns the sources, sorted by scheme.
func All() []*Source { return slices.Clone(all) }

// IsReference tells a reference from an image's name, which has no colon.
func IsReference(text string) bool { return strings.Contains(text, ":") }

// Open opens a reference with its scheme.
func Open(ctx context.Context, reference string, o Options) (*Tree, Config, error) {
	scheme, ref, _ := strings.Cut(reference, ":")
	var known []string
	for _, s := range all {
		if s.Scheme == scheme {
			tree, config, err := s.Open(ctx, ref, o)
			if err != nil {
				return nil, Config{}, fmt.Errorf("open %s: %w", reference, err)
			}
			return tree, config, nil
		}
		known = append(known, s.Scheme+":"+s.Usage)
	}
	return nil, Config{}, fmt.Errorf("%s: no source has the scheme %q; there are %s", reference, scheme, strings.Join(known, ", "))
}
