package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"seuss/dispatcher"
	"seuss/images"
)

const (
	// tryTimeout is far more than the slowest platform needs to import a package.
	tryTimeout = 5 * time.Minute
	// maxTryOutput bounds what is kept of what the program says.
	maxTryOutput = 64 << 10
)

// tryImage runs an image's own check in a guest, so that what it lacks is found when
// it is built and not by the first function. Where no guest can run it says so.
func (e *env) tryImage(ctx context.Context, img *images.Image, argv []string) (err error) {
	platform, err := e.openPlatform()
	if err != nil {
		e.notef("image %s is not tried in a guest: %v", img.Config().Name, err)
		return nil
	}
	defer func() { err = errors.Join(err, platform.Close()) }()
	e.progress.step("trying image", -1)
	var said []byte
	r, err := dispatcher.RunProgram(ctx, platform, dispatcher.Program{
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
