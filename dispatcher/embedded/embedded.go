// Package embedded opens the dispatcher for a program that has nothing of seuss yet but
// a directory: it takes the best platform that the host has, and makes the images of
// runtimes that are missing from what the host has installed.
//
// Units: those of package dispatcher. Ownership: a Service owns its platform, unless it
// was given one. Locks: none.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"seuss/dispatcher"
	"seuss/images"
	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all" // whose images can be made
	"seuss/lineage/sealed"
	"seuss/vmm/platform"
	_ "seuss/vmm/platform/all" // of which the best is taken
)

// Options are the dispatcher's, and what is added here. The zero value will do.
type Options struct {
	dispatcher.Options // StateDir is that of Open; Platform nil: the best that there is
	// Runtimes are those whose images are made if they are missing; nil: the default's.
	Runtimes []string
	// Build says what the images that are made have in them.
	Build runtimes.Options
}

// Service is a dispatcher with its platform.
type Service struct {
	*dispatcher.Dispatcher
	own platform.Platform // nil: the caller's
}

// Open opens the dispatcher on a state directory, which it makes if there is none. The
// first time takes as long as it takes to make an image, which is seconds.
func Open(ctx context.Context, stateDir string, o Options) (*Service, error) {
	store := images.Store{Dir: filepath.Join(stateDir, "images")}
	if err := os.MkdirAll(store.Dir, sealed.DirMode); err != nil {
		return nil, fmt.Errorf("open %s: %w", stateDir, err)
	}
	if o.Runtimes == nil {
		o.Runtimes = []string{runtimes.Default().Name}
	}
	for _, name := range o.Runtimes {
		if err := ensure(ctx, store, name, o.Build); err != nil {
			return nil, fmt.Errorf("image %s in %s: %w", name, stateDir, err)
		}
	}
	o.Options.StateDir = stateDir
	s := &Service{}
	if o.Options.Platform == nil {
		p, k, passed, err := platform.OpenBest(platform.Options{NoHugePages: !o.HugePages})
		if err != nil {
			return nil, err
		}
		if len(passed) > 0 && o.Log != nil {
			o.Log.Warn("the best platform cannot be used", "platform", passed[0].Title, "instead", k.Instead, "reason", passed[0].Reason())
		}
		s.own, o.Options.Platform = p, p
	}
	var err error
	if s.Dispatcher, err = dispatcher.Open(o.Options); err != nil {
		if s.own != nil {
			err = errors.Join(err, s.own.Close())
		}
		return nil, err
	}
	return s, nil
}

// ensure makes the image of a runtime if there is none that this program's guest can run.
func ensure(ctx context.Context, store images.Store, name string, build runtimes.Options) error {
	r, err := runtimes.ByName(name)
	if err != nil {
		return err
	}
	path, err := store.Find(name)
	if err == nil {
		img, err := images.Open(path, images.SkipDigest())
		if err == nil {
			current := r.Current(img.Config())
			if err := img.Close(); err != nil || current {
				return err
			}
		}
	} else if !errors.Is(err, images.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err = r.Build(ctx, store, build, images.AddOptions{Layered: true})
	return err
}

// Close ends what runs and closes dispatcher and platform.
func (s *Service) Close() error {
	err := s.Dispatcher.Close()
	if s.own != nil {
		err = errors.Join(err, s.own.Close())
	}
	return err
}
