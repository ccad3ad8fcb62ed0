package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"seuss/guest"
	"seuss/images"
)

const (
	pythonMain = "driver.py"
	nodeMain   = "driver.js"
	// guestLabel says which kernel library and driver an image was built with.
	guestLabel = "seuss.guest"
)

// BuildPython collects this host's own Python, adds the kernel library and the
// driver that this program carries, and stores the image under its name. Of
// opts it fills in Kernel and Main, and adds the driver's files to Driver, which
// may hold a guest.WarmUpFile.
func BuildPython(ctx context.Context, store images.Store, opts images.PythonOptions, add images.AddOptions) (images.Info, error) {
	driver := guest.PythonDriver()
	opts.Kernel, opts.Main = guest.Kernel(), pythonMain
	opts.Driver, opts.Labels = merged(opts.Driver, driver), withGuestLabel(opts.Labels, driver)
	spec, err := images.Python(ctx, opts)
	if err != nil {
		return images.Info{}, err
	}
	return store.Add(ctx, spec, add)
}

// guestRuntime is a language runtime that images are built for. Its image is named
// after it, where the user names none.
type guestRuntime struct {
	name    string
	what    string   // for people
	memory  string   // guest memory by default
	sources []string // endings of its functions' files; none: it has no driver
	driver  func() map[string][]byte
	collect func(context.Context, images.HostOptions) (images.Spec, error) // all but Python's
	main    string
}

var runtimes = []guestRuntime{
	{name: defaultImage, what: "Python", memory: "256MiB", sources: []string{".py"}, driver: guest.PythonDriver, main: pythonMain},
	{name: nodeImage, what: "Node.js", memory: "2GiB", sources: []string{".js", ".mjs", ".cjs"}, driver: guest.NodeDriver, main: nodeMain, collect: images.Node},
	{name: "lua", what: "Lua 5.4", memory: "256MiB", driver: func() map[string][]byte { return nil }, collect: images.Lua},
}

func findRuntime(name string) (*guestRuntime, error) {
	for i := range runtimes {
		if runtimes[i].name == name {
			return &runtimes[i], nil
		}
	}
	var names []string
	for _, r := range runtimes {
		names = append(names, r.name)
	}
	return nil, fmt.Errorf("%q is not one of %s", name, strings.Join(names, ", "))
}

// runtimeOf returns the runtime of a function's files by their endings: the one
// that a module at the top is for. If there are none or several it is Python.
func runtimeOf(files map[string][]byte) *guestRuntime {
	var found []*guestRuntime
	for i := range runtimes {
		r := &runtimes[i]
		for name := range files {
			if !strings.Contains(name, "/") && slices.Contains(r.sources, path.Ext(name)) {
				found = append(found, r)
				break
			}
		}
	}
	if len(found) != 1 {
		return &runtimes[0]
	}
	return found[0]
}

// BuildHost is BuildPython for the other runtimes.
func BuildHost(ctx context.Context, store images.Store, name string, opts images.HostOptions, add images.AddOptions) (images.Info, error) {
	r, err := findRuntime(name)
	if err != nil {
		return images.Info{}, fmt.Errorf("build image: runtime %w", err)
	}
	if r.collect == nil {
		return images.Info{}, fmt.Errorf("build image: runtime %s has a builder of its own", name)
	}
	driver := r.driver()
	opts.Kernel, opts.Main = guest.Kernel(), r.main
	opts.Driver, opts.Labels = merged(opts.Driver, driver), withGuestLabel(opts.Labels, driver)
	spec, err := r.collect(ctx, opts)
	if err != nil {
		return images.Info{}, err
	}
	return store.Add(ctx, spec, add)
}

func withGuestLabel(labels map[string]string, driver map[string][]byte) map[string]string {
	return merged(map[string]string{guestLabel: guestDigest(driver)}, labels)
}

// merged returns the entries of both; b's win.
func merged[V any](a, b map[string]V) map[string]V {
	out := make(map[string]V, len(a)+len(b))
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// guestDigest identifies the kernel library that this program carries, and a
// driver.
func guestDigest(driver map[string][]byte) string {
	h := sha256.New()
	h.Write(guest.Kernel())
	for _, name := range slices.Sorted(maps.Keys(driver)) {
		fmt.Fprintf(h, "\x00%s\x00%d\x00", name, len(driver[name]))
		h.Write(driver[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// buildPython is BuildPython with progress shown.
func (e *env) buildPython(ctx context.Context, opts images.PythonOptions) (images.Info, error) {
	e.progress.step("collecting Python", -1)
	defer e.progress.clear()
	return BuildPython(ctx, e.images(), opts, addOptions(e))
}

// buildHost is BuildHost with progress shown.
func (e *env) buildHost(ctx context.Context, r *guestRuntime, opts images.HostOptions) (images.Info, error) {
	e.progress.step("collecting "+r.what, -1)
	defer e.progress.clear()
	return BuildHost(ctx, e.images(), r.name, opts, addOptions(e))
}

func (e *env) buildRuntime(ctx context.Context, r *guestRuntime) (images.Info, error) {
	if r.collect == nil {
		return e.buildPython(ctx, images.PythonOptions{Name: r.name})
	}
	return e.buildHost(ctx, r, images.HostOptions{Name: r.name})
}

// addOptions show the progress, and try the image in a guest.
func addOptions(e *env) images.AddOptions {
	return images.AddOptions{Progress: e.buildProgress, Try: func(ctx context.Context, img *images.Image, argv []string) error {
		return tryImage(ctx, e, img, argv)
	}}
}

func (e *env) buildProgress(done, total int64, _ string) {
	if total > 0 {
		e.progress.step("building image", float64(done)/float64(total))
	}
}

// ensureImage builds a runtime's own image if it does not exist yet, so that the
// first command of a new user works. Any other missing or damaged image is the
// user's to look at.
func (e *env) ensureImage(ctx context.Context, name string) error {
	if name == "" {
		name = defaultImage
	}
	r, err := findRuntime(name)
	if err != nil {
		return nil // it is not a runtime's
	}
	_, err = e.images().Find(name)
	if !errors.Is(err, images.ErrNotFound) {
		return err
	}
	if err := e.checkPlatform(); err != nil {
		return err
	}
	e.notef("image %s does not exist yet; building it from this machine's %s", name, r.what)
	_, err = e.buildRuntime(ctx, r)
	return err
}

// imageIsCurrent reports whether a runtime's image exists and carries this
// program's kernel library and driver. An image that cannot be read is not.
func (e *env) imageIsCurrent(r *guestRuntime) bool {
	file, err := e.images().Find(r.name)
	if err != nil {
		return false
	}
	img, err := images.Open(file, images.SkipDigest())
	if err != nil {
		return false
	}
	defer img.Close()
	return img.Config().Labels[guestLabel] == guestDigest(r.driver())
}
