package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"seuss/dispatcher/bounds"
	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// Versions returns the record of a function and those of its published versions,
// oldest first.
func (d *Deployments) Versions(name string) ([]functions.Function, error) {
	if _, err := d.Function(name); err != nil {
		return nil, err
	}
	list, err := d.store.Versions(name)
	if len(list) > 0 {
		err = nil // of those that cannot be read
	}
	return list, err
}

// lock waits until nobody else changes the function that a deployment is of, in the cluster
// if it is one's.
func (d *Deployments) lock(ctx context.Context, deployment string) (unlock func(), err error) {
	release := func() {}
	if d.shared != nil {
		if release, err = d.shared(ctx, functions.BaseName(deployment)); err != nil {
			return nil, err
		}
	}
	free, err := d.locks.Lock(ctx, lockOf(deployment))
	if err != nil {
		release()
		return nil, err
	}
	return func() {
		free()
		release() // which waits for others
	}, nil
}

// lockSoon is lock for who has no context: a change of settings waits for a deployment, and
// not for ever.
func (d *Deployments) lockSoon(deployment string) (unlock func(), err error) {
	if d.shared == nil {
		return d.lock(context.Background(), deployment)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	return d.lock(ctx, deployment)
}

// lockOf is the key of a function's lock.
func lockOf(deployment string) string { return "function " + functions.BaseName(deployment) }

func checkRevision(f *functions.Function, want string) error {
	if want != "" && want != f.Settings.Revision {
		return fmt.Errorf("%w: it is %q", ErrRevision, f.Settings.Revision)
	}
	return nil
}

// change rewrites the record of a deployment. The function's lock must be held.
func (d *Deployments) change(name string, edit func(*functions.Function) error) (functions.Function, error) {
	f, err := d.Function(name)
	if err != nil {
		return f, err
	}
	if err := edit(&f); err != nil {
		return f, err
	}
	code, err := d.store.Code(f)
	if err != nil {
		return f, err
	}
	if f, err = d.store.Put(f, code); err != nil {
		return f, err
	}
	return f, nil
}

// Configure changes the settings of a function that do not concern its code.
// revision, if not empty, must be the current one.
func (d *Deployments) Configure(name, revision string, edit func(*functions.Settings)) (functions.Function, error) {
	unlock, err := d.lockSoon(name)
	if err != nil {
		return functions.Function{}, err
	}
	defer unlock()
	return d.change(name, func(f *functions.Function) error {
		if err := checkRevision(f, revision); err != nil {
			return err
		}
		before := f.Settings
		edit(&f.Settings)
		f.Settings.Revision = NewRequestID()
		if f.Settings.SameBounds(&before) { // what has been let in stays, whatever is allowed now
			return bounds.Possible(&f.Settings)
		}
		return d.check(&f.Settings)
	})
}

// Publish gives the function's present code and settings a version number. If
// the last version has the same code and settings, that is returned.
func (d *Deployments) Publish(name, revision, packageDigest string, description *string) (functions.Function, error) {
	unlock, err := d.lockSoon(name)
	if err != nil {
		return functions.Function{}, err
	}
	defer unlock()
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
	versions, err := d.store.Versions(name)
	if err != nil && len(versions) == 0 {
		return latest, err
	}
	last := versions[len(versions)-1]
	if last.Name != name && sameDeployment(&latest, &last) {
		return last, nil
	}
	if n := len(versions) - 1; n >= functions.MaxVersions {
		return latest, fmt.Errorf("function %q has %d versions, at most %d: remove some that no alias names: %w", name, n, functions.MaxVersions, lineage.ErrInvalid)
	}
	code, err := d.store.Code(latest)
	if err != nil {
		return latest, err
	}
	// A crash between the two writes leaves a version above the last number.
	number := max(latest.LastVersion, functions.VersionNumber(last.Name)) + 1
	version := latest
	version.Name = name + ":" + strconv.FormatUint(number, 10)
	version.LastVersion, version.Aliases, version.Attached = 0, nil, nil
	version.Settings.Revision = NewRequestID()
	version.Settings.Concurrency = nil // a limit is the function's, all versions together
	if description != nil {
		version.Settings.Description = *description
	}
	if version, err = d.store.Put(version, code); err != nil {
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
		f.Name, f.LastVersion, f.Aliases, f.Attached, f.Stamp = "", 0, nil, nil, functions.Stamp{}
		f.Deployed = latest.Deployed
		f.Settings.Revision, f.Settings.Description, f.Settings.Concurrency = "", "", nil
	}
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// removeVersion removes a version's record. The function's lock must be held.
func (d *Deployments) removeVersion(f *functions.Function) error {
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
	if _, has := latest.Attached[version]; has {
		if _, err := d.change(base, func(f *functions.Function) error { detach(f, version); return nil }); err != nil {
			return err
		}
	}
	return d.store.Remove(f.Name)
}

// PutAlias creates an alias, or changes it if create is false. edit gets what
// there is.
func (d *Deployments) PutAlias(name, alias string, create bool, revision string, edit func(*functions.Alias)) (functions.Alias, error) {
	unlock, err := d.lockSoon(name)
	if err != nil {
		return functions.Alias{}, err
	}
	defer unlock()
	var a functions.Alias
	_, err = d.change(name, func(f *functions.Function) error {
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
		a.Revision = NewRequestID()
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

func (d *Deployments) checkAlias(name string, a functions.Alias) error {
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
func (d *Deployments) RemoveAlias(name, alias string) error {
	unlock, err := d.lockSoon(name)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = d.change(name, func(f *functions.Function) error {
		f.Aliases = maps.Clone(f.Aliases)
		delete(f.Aliases, alias)
		detach(f, alias)
		return nil
	})
	return err
}

// Attach changes what hangs on a name of a function: on Latest, an alias, or a version that
// there is. revision, if not empty, must be the current one. edit gets what there is, and
// returns the error that Attach does.
func (d *Deployments) Attach(name, qualifier, revision string, edit func(*functions.Attached) error) (functions.Function, error) {
	unlock, err := d.lockSoon(name)
	if err != nil {
		return functions.Function{}, err
	}
	defer unlock()
	return d.change(name, func(f *functions.Function) error {
		if err := checkRevision(f, revision); err != nil {
			return err
		}
		if err := d.isThere(f, qualifier); err != nil {
			return err
		}
		a := f.Attached[qualifier]
		a.Grants = slices.Clone(a.Grants)
		if err := edit(&a); err != nil {
			return err
		}
		f.Settings.Revision = NewRequestID()
		detach(f, qualifier)
		if !a.Empty() {
			if f.Attached == nil {
				f.Attached = map[string]functions.Attached{}
			}
			f.Attached[qualifier] = a
		}
		return nil
	})
}

// isThere checks that a function has a name.
func (d *Deployments) isThere(f *functions.Function, qualifier string) error {
	if qualifier == Latest {
		return nil
	}
	if _, alias := f.Aliases[qualifier]; alias {
		return nil
	}
	_, err := d.Function(f.Name + ":" + qualifier)
	if err != nil && !functions.ValidDeploymentName(f.Name+":"+qualifier) {
		return unknownAlias(f.Name + ":" + qualifier)
	}
	return err
}

// detach lets go of what hangs on a qualifier: the map may be somebody else's too.
func detach(f *functions.Function, qualifier string) {
	f.Attached = maps.Clone(f.Attached)
	delete(f.Attached, qualifier)
}

// URLTarget finds the deployment that a function URL's id stands for, as Lookup, and the
// name that it stands for.
func (d *Deployments) URLTarget(id string) (name string, u *functions.URL, err error) {
	key, qualifier, ok := d.store.URLTarget(id)
	if !ok {
		return "", nil, fmt.Errorf("%w: no function has the URL %q", ErrUnknownFunction, id)
	}
	f, err := d.Lookup(key)
	if err != nil {
		return "", nil, err
	}
	if u = f.Attached[qualifier].URL; u == nil || u.ID != id {
		return "", nil, fmt.Errorf("%w: no function has the URL %q", ErrUnknownFunction, id)
	}
	if qualifier == Latest {
		return key, u, nil
	}
	return key + ":" + qualifier, u, nil
}
