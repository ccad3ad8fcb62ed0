package dispatcher

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"seuss/dispatcher/bounds"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/imports"
	"seuss/dispatcher/keyed"
	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/lineage"
	"seuss/lineage/changes"
)

// Latest is the qualifier of the deployment that has no version.
const Latest = functions.LatestQualifier

// Deployments are the functions that are deployed: their settings, versions and
// aliases. A version is a deployment of its own: the record "name:7" beside "name",
// with the same code and so the same nodes. Aliases are in the record of "name".
type Deployments struct {
	store     *functions.Store
	locks     *keyed.Locks // by function: one change of it at a time
	check     func(*functions.Settings) error
	catalogue *runtimes.Catalogue
	shared    Lock // nil: nobody else has the deployments

	mu    sync.RWMutex
	known map[string]*Deployment // by name; read again when the store says that it changed
}

// Deployment is what a function's name has led to. It is not to be changed.
type Deployment struct {
	functions.Function
	// Limit is how many invocations of the function, all versions together, may run at
	// a time; -1: any number.
	Limit int

	seen  changes.Generation       // of the store, when it was read
	built atomic.Pointer[function] // what the request path needs of it; nil: not known
	looks imports.Looks            // at what its handler imports
}

// Base is the function that the deployment is a version of.
func (d *Deployment) Base() string { return functions.BaseName(d.Name) }

// Patience is how long an invocation may wait for its turn where it would not be long over by
// then: as long as it may take.
func (d *Deployment) Patience() time.Duration {
	if d.Settings.TimeoutSec == 0 {
		return DefaultTimeout
	}
	return time.Duration(d.Settings.TimeoutSec) * time.Second
}

func newDeployments(store *functions.Store, locks *keyed.Locks, check func(*functions.Settings) error) *Deployments {
	return &Deployments{store: store, locks: locks, check: check, known: map[string]*Deployment{}}
}

// VersionOf returns the qualifier of a deployment's name: its version, or Latest.
func VersionOf(deployment string) string {
	if _, version, ok := strings.Cut(deployment, ":"); ok {
		return version
	}
	return Latest
}

// Lookup finds the deployment that a function's name stands for, with or without a
// qualifier behind a colon. An alias that shares its traffic among versions gives one
// of them at random.
func (d *Deployments) Lookup(name string) (*Deployment, error) {
	if strings.IndexByte(name, ':') >= 0 {
		var err error
		if name, err = d.Resolve(name); err != nil {
			return nil, err
		}
	}
	d.mu.RLock()
	f := d.known[name]
	d.mu.RUnlock()
	if f != nil && !d.changed(f) {
		return f, nil
	}
	return d.read(name)
}

// Resolve is Lookup for the name alone. It may be of nothing.
func (d *Deployments) Resolve(name string) (string, error) {
	base, qualifier, qualified := strings.Cut(name, ":")
	if !qualified || functions.ValidDeploymentName(name) {
		return name, nil
	}
	if qualifier == Latest {
		return base, nil
	}
	f, err := d.Lookup(base)
	if err != nil {
		return "", err
	}
	alias, ok := f.Aliases[qualifier]
	if !ok {
		return "", unknownAlias(name)
	}
	return join(base, pickVersion(alias, rand.Float64())), nil
}

func unknownAlias(name string) error {
	base, qualifier, _ := strings.Cut(name, ":")
	return fmt.Errorf("%w: %q: %w %q", ErrUnknownFunction, base, ErrUnknownAlias, qualifier)
}

// VersionsOf returns the versions of a function that a name of it stands for: the one in its
// qualifier, or all that an alias has traffic for; nil, for any, of a name without one.
func VersionsOf(f *functions.Function, name string) ([]string, error) {
	_, qualifier, qualified := strings.Cut(name, ":")
	switch {
	case !qualified:
		return nil, nil
	case qualifier == Latest:
		return []string{Latest}, nil
	case functions.ValidDeploymentName(name):
		if functions.VersionNumber(name) > f.LastVersion {
			return nil, fmt.Errorf("%w: %q", ErrUnknownFunction, name)
		}
		return []string{qualifier}, nil
	}
	alias, ok := f.Aliases[qualifier]
	if !ok {
		return nil, unknownAlias(name)
	}
	return append(slices.Sorted(maps.Keys(alias.Weights)), alias.Version), nil
}

// pickVersion chooses by a random number from 0 to 1.
func pickVersion(a functions.Alias, r float64) string {
	for _, version := range slices.Sorted(maps.Keys(a.Weights)) {
		if r -= a.Weights[version]; r < 0 {
			return version
		}
	}
	return a.Version
}

func join(base, version string) string {
	if version == Latest {
		return base
	}
	return base + ":" + version
}

// changed reports whether a deployment may be another one by now.
func (d *Deployments) changed(f *Deployment) bool {
	return d.store.Changes().Since(f.Base(), f.seen)
}

// read reads a deployment from the store, and keeps it.
func (d *Deployments) read(name string) (*Deployment, error) {
	f := &Deployment{Limit: -1, seen: d.store.Changes().Now()}
	latest, err := d.store.Get(name)
	f.Function = latest
	if base := functions.BaseName(name); err == nil && base != name {
		var absent error
		if latest, absent = d.store.Get(base); absent != nil {
			latest = functions.Function{} // a version that outlived its function has no limit
		}
	}
	if limit := latest.Settings.Concurrency; limit != nil {
		f.Limit = *limit
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.known, name)
		if errors.Is(err, lineage.ErrNotFound) {
			err = fmt.Errorf("%w: %q", ErrUnknownFunction, name)
		}
		return nil, err
	}
	d.known[name] = f
	return f, nil
}

// Function returns the record of a deployment.
func (d *Deployments) Function(deployment string) (functions.Function, error) {
	if !functions.ValidDeploymentName(deployment) { // an alias is none
		return functions.Function{}, fmt.Errorf("%w: %q", ErrUnknownFunction, deployment)
	}
	f, err := d.Lookup(deployment)
	if err != nil {
		return functions.Function{}, err
	}
	return f.Function, nil
}

// Outer returns the bounds of all functions, for reading.
func (d *Dispatcher) Outer() *bounds.Outer { return &d.outer }

// FunctionFiles returns the code of a deployment, by path, and its warm-up events.
func (d *Deployments) FunctionFiles(f functions.Function) (map[string][]byte, []json.RawMessage, error) {
	code, err := d.store.Code(f)
	if err != nil {
		return nil, nil, err
	}
	var request contracts.Load
	if err := json.Unmarshal(code, &request); err != nil {
		return nil, nil, fmt.Errorf("code of function %q: %w", f.Name, err)
	}
	return request.Files, request.WarmUp, nil
}

// RuntimeImage returns the name of the image that functions run in which ask for a runtime
// by name and for no image; see runtimes.Catalogue. The default runtime's is DefaultImage,
// built or not.
func (d *Deployments) RuntimeImage(runtime string) (image string, err error) {
	if runtime == "" {
		return DefaultImage(), nil
	}
	if contracts.OfRuntime(runtime) != nil {
		return cmp.Or(d.catalogue.Pinned[runtime], DefaultImage()), nil
	}
	image, err = d.catalogue.Choose(runtime)
	if errors.Is(err, runtimes.ErrNotServed) {
		err = fmt.Errorf("%w: %w", lineage.ErrInvalid, err)
	}
	return image, err
}

// imageOf is RuntimeImage for a deployment that names no image. A program runs in any that
// has the loader: in the default runtime's.
func (d *Deployments) imageOf(s *functions.Settings) (string, error) {
	if s.Program != nil && contracts.OfRuntime(s.Runtime) == nil {
		return DefaultImage(), nil
	}
	return d.RuntimeImage(s.Runtime)
}

// ContainerImage returns the digest of the image that was built last from a container image,
// and notes what was there in c. Nothing is fetched: what nobody has built is refused with how
// to.
func (d *Deployments) ContainerImage(c *functions.Container) (image string, err error) {
	_, origin, err := d.catalogue.Store.FromContainer(c.URI)
	if errors.Is(err, images.ErrNotFound) {
		return "", fmt.Errorf("%w: no image was built from it: seussctl image build NAME --from docker://%s", lineage.ErrInvalid, c.URI)
	}
	c.Digest = origin.Digest
	return origin.Image, err
}

// ContainerProgram returns the program that an image of a container image is over AWS Lambda's
// Runtime API.
func (d *Deployments) ContainerProgram(image string, c *functions.Container) (p *functions.Program, err error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", lineage.ErrInvalid, err)
	}
	path, err := d.catalogue.Store.Find(image)
	if err != nil {
		return nil, err
	}
	p = contracts.OfRuntime(containerRuntime)
	if err := ownCommand(path, c, p); err != nil {
		return nil, err
	}
	return p, nil
}

// ownCommand has a program be that of the image at a path, as c says in place of what the
// image does.
func ownCommand(image string, c *functions.Container, p *functions.Program) error {
	img, err := images.Open(image, images.SkipDigest())
	if err != nil {
		return err
	}
	defer img.Close()
	if p.Command, p.Dir, err = img.Program(c.Entrypoint, c.Command, c.WorkingDir); err != nil {
		return fmt.Errorf("%w: %w", lineage.ErrInvalid, err)
	}
	return nil
}

// ownProgram has a deployment of a program that names no command run the one of its image.
// It is that image's from then on, by its digest: what else a name of it leads to has
// another program.
func (d *Deployments) ownProgram(spec *FunctionSpec) error {
	if spec.Settings.Program == nil || len(spec.Settings.Program.Command) > 0 || spec.Snapshot != "" {
		return nil
	}
	if spec.Image == "" {
		return fmt.Errorf("%w: it names neither a command nor an image whose own program it is", lineage.ErrInvalid)
	}
	store, p := d.catalogue.Store, *spec.Settings.Program
	file, err := store.Find(spec.Image)
	if err != nil {
		return fmt.Errorf("%w: %q (build it with: seussctl image build): %w", ErrNoImage, spec.Image, err)
	}
	c := &functions.Container{WorkingDir: p.Dir}
	if c.URI, c.Digest, err = store.Container(file); err != nil {
		return err
	}
	if err := ownCommand(file, c, &p); err != nil {
		return fmt.Errorf("%w; name the program's command", err)
	}
	spec.Image = strings.TrimSuffix(filepath.Base(file), guest.ImageSuffix)
	spec.Settings.Program, spec.Settings.Container, spec.Settings.Runtime = &p, c, ""
	return nil
}

// containerRuntime stands for the contract that AWS Lambda expects of container images.
const containerRuntime = "provided.al2023"

// LambdaRuntime is AWS Lambda's name of what a deployment runs on, "" if it is not known.
func (d *Deployments) LambdaRuntime(f *functions.Function) string {
	if f.Settings.Program != nil {
		return f.Settings.Runtime
	}
	return d.catalogue.LambdaName(nameOrDefault(f.Image), f.Settings.Runtime)
}

// Functions returns the records of all deployments, by name and version. Those
// that cannot be read are left out and described by the error.
func (d *Deployments) Functions() ([]functions.Function, error) { return d.store.List() }

// Owned returns the records of an owner's deployments, as Functions does everybody's.
func (d *Deployments) Owned(owner string) ([]functions.Function, error) { return d.store.Owned(owner) }

// kept returns what is kept of a deployment, nil if nothing is.
func (d *Deployments) kept(name string) *Deployment {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.known[name]
}

// sweep lets go of what has changed, and of functions of which current does not hold:
// they are read again if somebody asks.
func (d *Deployments) sweep(current func(*function) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, spec := range d.known {
		if d.changed(spec) {
			delete(d.known, name)
		} else if f := spec.built.Load(); f != nil && !current(f) {
			spec.built.CompareAndSwap(f, nil)
		}
	}
}
