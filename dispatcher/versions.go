package dispatcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// Latest is the qualifier of the deployment that has no version.
const Latest = "$LATEST"

// A version is a deployment of its own: the record "name:7" beside "name", with
// the same code and so the same nodes. Aliases are in the record of "name".

// VersionOf returns the qualifier of a deployment's name: its version, or Latest.
func VersionOf(deployment string) string {
	if _, version, ok := strings.Cut(deployment, ":"); ok {
		return version
	}
	return Latest
}

// Resolve turns a function's name, with or without a qualifier behind a colon,
// into the name of a deployment. An alias that shares its traffic among versions
// gives one of them at random.
func (d *Dispatcher) Resolve(name string) (string, error) {
	colon := strings.IndexByte(name, ':')
	if colon < 0 {
		return name, nil
	}
	base, qualifier := name[:colon], name[colon+1:]
	if qualifier == Latest {
		return base, nil
	}
	if functions.ValidDeploymentName(name) {
		return name, nil
	}
	f, err := d.Function(base)
	if err != nil {
		return "", err
	}
	alias, ok := f.Aliases[qualifier]
	if !ok {
		return "", fmt.Errorf("%w: %q: %w %q", ErrUnknownFunction, base, ErrUnknownAlias, qualifier)
	}
	return join(base, pickVersion(alias, rand.Float64())), nil
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

// Function returns the record of a deployment.
func (d *Dispatcher) Function(deployment string) (functions.Function, error) {
	d.catalog.mu.RLock()
	known := d.catalog.functions[deployment]
	d.catalog.mu.RUnlock()
	if known != nil {
		return known.spec, nil
	}
	f, err := d.functions.Get(deployment)
	if errors.Is(err, lineage.ErrNotFound) {
		return f, fmt.Errorf("%w: %q", ErrUnknownFunction, deployment)
	}
	return f, err
}

// Functions returns the records of all deployments, by name and version. Those
// that cannot be read are left out and described by the error.
func (d *Dispatcher) Functions() ([]functions.Function, error) { return d.functions.List() }

// Versions returns the record of a function and those of its published versions,
// oldest first.
func (d *Dispatcher) Versions(name string) ([]functions.Function, error) {
	if _, err := d.Function(name); err != nil {
		return nil, err
	}
	list, err := d.functions.Versions(name)
	if len(list) > 0 {
		err = nil // of those that cannot be read
	}
	return list, err
}

// FunctionFiles returns the code of a deployment, by path, and its warm-up events.
func (d *Dispatcher) FunctionFiles(f functions.Function) (map[string][]byte, []json.RawMessage, error) {
	code, err := d.functions.Code(f)
	if err != nil {
		return nil, nil, err
	}
	var request loadRequest
	if err := json.Unmarshal(code, &request); err != nil {
		return nil, nil, fmt.Errorf("code of function %q: %w", f.Name, err)
	}
	return request.Files, request.WarmUp, nil
}

func checkRevision(f *functions.Function, want string) error {
	if want != "" && want != f.Settings.Revision {
		return fmt.Errorf("%w: it is %q", ErrRevision, f.Settings.Revision)
	}
	return nil
}

// change rewrites the record of a deployment. deployMu must be held.
func (d *Dispatcher) change(name string, edit func(*functions.Function) error) (functions.Function, error) {
	f, err := d.Function(name)
	if err != nil {
		return f, err
	}
	if err := edit(&f); err != nil {
		return f, err
	}
	code, err := d.functions.Code(f)
	if err != nil {
		return f, err
	}
	if f, err = d.functions.Put(f, code); err != nil {
		return f, err
	}
	d.catalog.forget(name)
	return f, nil
}

// Configure changes the settings of a function that do not concern its code.
// revision, if not empty, must be the current one.
func (d *Dispatcher) Configure(name, revision string, edit func(*functions.Settings)) (functions.Function, error) {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	return d.change(name, func(f *functions.Function) error {
		if err := checkRevision(f, revision); err != nil {
			return err
		}
		edit(&f.Settings)
		f.Settings.Revision = newRequestID()
		return nil
	})
}

// Publish gives the function's present code and settings a version number. If
// the last version has the same code and settings, that is returned.
func (d *Dispatcher) Publish(name, revision, packageDigest string, description *string) (functions.Function, error) {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	latest, err := d.Function(name)
	if err != nil {
		return latest, err
	}
	if err := checkRevision(&latest, revision); err != nil {
		return latest, err
	}
	if packageDigest != "" && packageDigest != latest.Settings.PackageDigest {
		return latest, fmt.Errorf("%w: the code's digest is %s, not %s", lineage.ErrInvalid, latest.Settings.PackageDigest, packageDigest)
	}
	versions, err := d.functions.Versions(name)
	if err != nil && len(versions) == 0 {
		return latest, err
	}
	last := versions[len(versions)-1]
	if last.Name != name && sameDeployment(&latest, &last) {
		return last, nil
	}
	code, err := d.functions.Code(latest)
	if err != nil {
		return latest, err
	}
	// A crash between the two writes leaves a version above the last number.
	number := max(latest.LastVersion, functions.VersionNumber(last.Name)) + 1
	version := latest
	version.Name = name + ":" + strconv.FormatUint(number, 10)
	version.LastVersion, version.Aliases = 0, nil
	version.Settings.Revision = newRequestID()
	version.Settings.Concurrency = nil // a limit is the function's, all versions together
	if description != nil {
		version.Settings.Description = *description
	}
	if version, err = d.functions.Put(version, code); err != nil {
		return version, err
	}
	_, err = d.change(name, func(f *functions.Function) error {
		f.LastVersion = number
		return nil
	})
	return version, err
}

// sameDeployment compares what a version freezes.
func sameDeployment(latest, version *functions.Function) bool {
	a, b := *latest, *version
	for _, f := range []*functions.Function{&a, &b} {
		f.Name, f.LastVersion, f.Aliases = "", 0, nil
		f.Deployed = latest.Deployed
		f.Settings.Revision, f.Settings.Description, f.Settings.Concurrency = "", "", nil
	}
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// removeVersion removes a version's record. deployMu must be held.
func (d *Dispatcher) removeVersion(f *functions.Function) error {
	base, version := functions.BaseName(f.Name), VersionOf(f.Name)
	latest, err := d.Function(base)
	if err != nil && !errors.Is(err, ErrUnknownFunction) {
		return err
	}
	for name, a := range latest.Aliases {
		if _, weighted := a.Weights[version]; weighted || a.Version == version {
			return fmt.Errorf("%w: alias %q names it", ErrInUse, name)
		}
	}
	return d.functions.Remove(f.Name)
}

// PutAlias creates an alias, or changes it if create is false. edit gets what
// there is.
func (d *Dispatcher) PutAlias(name, alias string, create bool, revision string, edit func(*functions.Alias)) (functions.Alias, error) {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	var a functions.Alias
	_, err := d.change(name, func(f *functions.Function) error {
		old, exists := f.Aliases[alias]
		switch {
		case exists && create:
			return fmt.Errorf("%w: alias %q", ErrExists, alias)
		case !exists && !create:
			return fmt.Errorf("%w: %q", ErrUnknownAlias, alias)
		case revision != "" && revision != old.Revision:
			return fmt.Errorf("%w: it is %q", ErrRevision, old.Revision)
		}
		a = old
		a.Weights = maps.Clone(old.Weights)
		edit(&a)
		a.Revision = newRequestID()
		if err := d.checkAlias(name, a); err != nil {
			return err
		}
		f.Aliases = maps.Clone(f.Aliases)
		if f.Aliases == nil {
			f.Aliases = map[string]functions.Alias{}
		}
		f.Aliases[alias] = a
		return nil
	})
	return a, err
}

func (d *Dispatcher) checkAlias(name string, a functions.Alias) error {
	sum := 0.0
	for version, weight := range a.Weights {
		if !(weight >= 0 && weight <= 1) {
			return fmt.Errorf("%w: the weight of version %s is %v, not 0 to 1", lineage.ErrInvalid, version, weight)
		}
		sum += weight
	}
	if sum > 1 {
		return fmt.Errorf("%w: the weights sum up to %v, more than 1", lineage.ErrInvalid, sum)
	}
	for _, version := range append(slices.Sorted(maps.Keys(a.Weights)), a.Version) {
		if _, err := d.Function(join(name, version)); err != nil {
			return err
		}
	}
	return nil
}

// RemoveAlias removes an alias; one that is not there is no error.
func (d *Dispatcher) RemoveAlias(name, alias string) error {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	_, err := d.change(name, func(f *functions.Function) error {
		f.Aliases = maps.Clone(f.Aliases)
		delete(f.Aliases, alias)
		return nil
	})
	return err
}
