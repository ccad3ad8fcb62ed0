package app

import (
	"context"
	"os"

	"seuss/lineage"
)

// freshImages makes sure that a state directory of the demo's or the benchmark's
// own holds images with this program's guest in them, of Python and of what else
// is named. What was made with an older guest is of no use to anybody and goes; a
// directory that the user named keeps everything.
func (e *env) freshImages(ctx context.Context, others ...string) error {
	var all, stale []*guestRuntime
	for _, name := range append([]string{defaultImage}, others...) {
		r, err := findRuntime(name)
		if err != nil {
			return err
		}
		all = append(all, r)
		if !e.imageIsCurrent(r) {
			stale = append(stale, r)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	if err := e.checkPlatform(); err != nil {
		return err
	}
	if !e.stateGiven {
		if err := e.dropImages(); err != nil {
			return err
		}
		stale = all
	}
	for _, r := range stale {
		if _, err := e.buildRuntime(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// dropImages removes all images with the nodes below them.
func (e *env) dropImages() error {
	if _, err := os.Stat(e.stateDir); os.IsNotExist(err) {
		return nil
	}
	return e.withStore(func(s *lineage.Store) error {
		for _, n := range s.Kind(lineage.KindImage) {
			if err := s.Remove(n.ID, true); err != nil {
				return err
			}
		}
		list, err := e.images().List()
		if err != nil {
			return err
		}
		for _, i := range list {
			if err := e.images().Remove(i.Digest); err != nil {
				return err
			}
		}
		return nil
	})
}
