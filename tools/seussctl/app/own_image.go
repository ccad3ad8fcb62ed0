package app

import (
	"context"
	"os"

	"seuss/images"
	"seuss/lineage"
)

// freshImage makes sure that a state directory of the demo's or the
// benchmark's own holds an image with this program's guest in it. What was
// made with an older guest is of no use to anybody and goes; a directory that
// the user named keeps everything.
func (e *env) freshImage(ctx context.Context) error {
	if e.imageIsCurrent() {
		return nil
	}
	if err := e.checkPlatform(); err != nil {
		return err
	}
	if !e.stateGiven {
		if err := e.dropImages(); err != nil {
			return err
		}
	}
	_, err := e.buildPython(ctx, images.PythonOptions{Name: defaultImage})
	return err
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
