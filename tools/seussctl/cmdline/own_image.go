package cmdline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"seuss/dispatcher/instance"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/lineage"
)

// FreshImages makes sure that a state directory of the demo's or the benchmark's
// own holds images with this program's guest in them, of the default runtime and of
// what else is named. What was made with an older guest is of no use to anybody and goes; a
// directory that the user named keeps everything.
func (e *Env) FreshImages(ctx context.Context, others ...string) error {
	var all, stale []*runtimes.Runtime
	for _, name := range append([]string{DefaultImage}, others...) {
		r, err := runtimes.ByName(name)
		if err != nil {
			return err
		}
		all = append(all, r)
		if c, ok := e.ImageConfig(r.Name); !ok || !r.Current(c) {
			stale = append(stale, r)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	if err := e.CheckPlatform(); err != nil {
		return err
	}
	if !e.StateGiven {
		if err := e.dropImages(); err != nil {
			return err
		}
		stale = all
	}
	for _, r := range stale {
		if _, err := e.BuildRuntime(ctx, r, runtimes.Options{}); err != nil {
			return err
		}
	}
	return nil
}

// dropImages removes all images with the nodes below them.
func (e *Env) dropImages() error {
	if _, err := os.Stat(e.StateDir); os.IsNotExist(err) {
		return nil
	}
	return e.WithStore(func(s *lineage.Store) error {
		for _, n := range s.Kind(lineage.KindImage) {
			if err := s.Remove(n.ID, true); err != nil {
				return err
			}
		}
		list, err := e.Images().List()
		if err != nil {
			return err
		}
		for _, i := range list {
			if err := e.Images().Remove(i.Digest); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	// tryTimeout is far more than the slowest platform needs to import a package.
	tryTimeout = 5 * time.Minute
	// maxTryOutput bounds what is kept of what the program says.
	maxTryOutput = 64 << 10
)

// tryImage runs an image's own check in a guest, so that what it lacks is found when
// it is built and not by the first function. Where no guest can run it says so.
func tryImage(ctx context.Context, e *Env, img *images.Image, argv []string) (err error) {
	platform, err := e.OpenPlatform()
	if err != nil {
		e.Notef("image %s is not tried in a guest: %v", img.Config().Name, err)
		return nil
	}
	defer func() { err = errors.Join(err, platform.Close()) }()
	e.Progress.Step("trying image", -1)
	var said []byte
	r, err := instance.RunProgram(ctx, platform, instance.Program{
		Image: img, Args: argv, Env: img.Config().Env, Timeout: tryTimeout,
		Output: func(fd uint16, text []byte) {
			said = append(said, text...)
			said = said[max(0, len(said)-maxTryOutput):]
		},
	})
	if err != nil {
		return fmt.Errorf("try it in a guest: %w", err)
	}
	if r.Status == 0 && r.Signal == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	what := lines[len(lines)-1]
	switch {
	case r.Signal != 0:
		what = fmt.Sprintf("killed by signal %d: %s", r.Signal, what)
	case what == "":
		what = fmt.Sprintf("%s ends with status %d", argv[0], r.Status)
	}
	return fmt.Errorf("it does not work in a guest: %s", what)
}
