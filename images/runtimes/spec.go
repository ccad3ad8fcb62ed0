package runtimes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"seuss/guest"
	"seuss/images"
)

// WarmUpFile is the name, among a driver's files, of the function that the driver
// loads and invokes before the base snapshot is taken: a JSON object with
// "handler", "files" (content in base64 by path) and "warm_up" (the events).
const WarmUpFile = "warm_up.json"

// guestLabel says which kernel library and driver an image was built with.
const guestLabel = "seuss.guest"

// Options say what an image of a runtime is like.
type Options struct {
	Name        string            // of the image; "" = the runtime's
	Program     string            // interpreter, where the runtime takes any; "" = the host's
	Root        string            // host directory of the file system to collect from; "" = the host's own
	MemoryBytes uint64            // see images.Spec; 0 = the runtime's
	Env         []string          // added to the environment, or replacing a default
	User        string            // see images.Spec
	Packages    []string          // further packages of that file system, with what they depend on
	Args        []string          // arguments behind the interpreter and the driver
	Without     []string          // names of optional parts to leave out
	Driver      map[string][]byte // further files of the driver, such as a WarmUpFile
	NoDriver    bool              // the interpreter alone
	Labels      map[string]string
}

// Leaves reports whether an optional part is left out.
func (o *Options) Leaves(part string) bool { return slices.Contains(o.Without, part) }

// Spec returns what belongs into an image of the runtime: what it collects, the kernel
// library and the driver that this program carries.
func (r *Runtime) Spec(ctx context.Context, o Options) (images.Spec, error) {
	spec, err := r.Collect(ctx, o)
	if err != nil {
		return images.Spec{}, fmt.Errorf("collect an image of %s: %w", r.Title, err)
	}
	spec.Name, spec.MemoryBytes, spec.Kernel, spec.User = o.Name, o.MemoryBytes, guest.Kernel(), o.User
	if spec.Name == "" {
		spec.Name = r.Name
	}
	if spec.MemoryBytes == 0 {
		spec.MemoryBytes = r.MemoryBytes
	}
	spec.Labels = map[string]string{guestLabel: r.guestDigest()}
	maps.Copy(spec.Labels, o.Labels)
	if r.Driver != nil && !o.NoDriver {
		files := r.Driver()
		maps.Copy(files, o.Driver)
		if err := r.addDriver(&spec, files); err != nil {
			return images.Spec{}, fmt.Errorf("collect an image of %s: %w", r.Title, err)
		}
		spec.Driver = r.driverPath()
		spec.Argv = append(spec.Argv, spec.Driver)
	}
	spec.Argv = append(spec.Argv, o.Args...)
	if spec.Driver != "" {
		found, err := r.inspectIn(&spec, spec.Program)
		if err != nil {
			return images.Spec{}, fmt.Errorf("collect an image of %s: %w", r.Title, err)
		}
		rt := images.Runtime{Name: r.Name, Version: found.Version, Program: spec.Program, Argv: spec.Argv, Env: spec.Env}
		rt.Env = r.around(&rt)
		spec.Runtimes = []images.Runtime{rt}
	}
	addEverywhere(&spec)
	return spec, nil
}

// Build builds an image of the runtime into a store.
func (r *Runtime) Build(ctx context.Context, store images.Store, o Options, add images.AddOptions) (images.Info, error) {
	spec, err := r.Spec(ctx, o)
	if err != nil {
		return images.Info{}, err
	}
	return store.Add(ctx, spec, add)
}

// Current reports whether an image carries this program's kernel library and driver.
func (r *Runtime) Current(c images.Config) bool { return c.Labels[guestLabel] == r.guestDigest() }

// guestDigest identifies the kernel library that this program carries, and the driver.
func (r *Runtime) guestDigest() string {
	var driver map[string][]byte
	if r.Driver != nil {
		driver = r.Driver()
	}
	h := sha256.New()
	h.Write(guest.Kernel())
	for _, e := range all {
		if e.Everywhere != "" {
			h.Write(e.Driver()[e.Main])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(driver)) {
		fmt.Fprintf(h, "\x00%s\x00%d\x00", name, len(driver[name]))
		h.Write(driver[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Digest identifies what this program puts into images: its kernel library and the drivers
// of all runtimes.
func Digest() string {
	h := sha256.New()
	for _, r := range All() {
		fmt.Fprintf(h, "%s %s\n", r.Name, r.guestDigest())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Files reads embedded files below dir, by their names there.
func Files(from fs.FS, dir string, names ...string) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range names {
		content, err := fs.ReadFile(from, path.Join(dir, name))
		if err != nil { // it is embedded
			panic(err)
		}
		files[name] = content
	}
	return files
}

// Starter is a runtime's Starter: an embedded sample, whose event is the same in all
// languages.
func Starter(from fs.FS, file string) Sample {
	return Sample{Name: "main", Code: Files(from, "samples", file)[file], Event: `{"name": "Ada", "language": "de"}`}
}
