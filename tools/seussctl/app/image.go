package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"seuss/guest"
	"seuss/images"
)

const (
	pythonMain = "driver.py"
	// guestLabel says which kernel library and driver an image was built with.
	guestLabel = "seuss.guest"
)

// BuildPython collects this host's own Python, adds the kernel library and the
// driver that this program carries, and stores the image under its name. Of
// opts it fills in Kernel, Driver and Main. progress may be nil; see
// images.Build.
func BuildPython(ctx context.Context, store images.Store, opts images.PythonOptions, progress func(done, total int64, what string)) (images.Info, error) {
	opts.Kernel = guest.Kernel()
	opts.Driver = guest.PythonDriver()
	opts.Main = pythonMain
	labels := map[string]string{guestLabel: guestDigest()}
	maps.Copy(labels, opts.Labels)
	opts.Labels = labels
	spec, err := images.Python(ctx, opts)
	if err != nil {
		return images.Info{}, err
	}
	return store.Add(ctx, spec, progress)
}

// guestDigest identifies the kernel library and driver that this program
// carries.
func guestDigest() string {
	h := sha256.New()
	h.Write(guest.Kernel())
	driver := guest.PythonDriver()
	for _, name := range slices.Sorted(maps.Keys(driver)) {
		fmt.Fprintf(h, "\x00%s\x00%d\x00", name, len(driver[name]))
		h.Write(driver[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// buildPython is BuildPython with progress shown.
func (e *env) buildPython(ctx context.Context, opts images.PythonOptions) (images.Info, error) {
	e.progress.step("collecting Python", -1)
	info, err := BuildPython(ctx, e.images(), opts, func(done, total int64, what string) {
		if total > 0 {
			e.progress.step("building image", float64(done)/float64(total))
		}
	})
	e.progress.clear()
	return info, err
}

// ensureImage builds the default image if it does not exist yet, so that the
// first command of a new user works. Any other missing or damaged image is the
// user's to look at.
func (e *env) ensureImage(ctx context.Context, name string) error {
	if name != "" && name != defaultImage {
		return nil
	}
	_, err := e.images().Find(defaultImage)
	if !errors.Is(err, images.ErrNotFound) {
		return err
	}
	if err := e.checkPlatform(); err != nil {
		return err
	}
	e.notef("image %s does not exist yet; building it from this machine's /usr/bin/python3", defaultImage)
	_, err = e.buildPython(ctx, images.PythonOptions{Name: defaultImage})
	return err
}

// imageIsCurrent reports whether the default image exists and carries this
// program's kernel library and driver. An image that cannot be read is not.
func (e *env) imageIsCurrent() bool {
	path, err := e.images().Find(defaultImage)
	if err != nil {
		return false
	}
	img, err := images.Open(path, images.SkipDigest())
	if err != nil {
		return false
	}
	defer img.Close()
	return img.Config().Labels[guestLabel] == guestDigest()
}
