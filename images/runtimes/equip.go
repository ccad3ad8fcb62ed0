package runtimes

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"seuss/images"
)

// driverDir is where a runtime's driver lies in an image.
func (r *Runtime) driverDir() string { return path.Join(images.DriverDir, r.Name) }

func (r *Runtime) driverPath() string { return path.Join(r.driverDir(), r.Main) }

func (r *Runtime) addDriver(spec *images.Spec, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		guestPath := name
		if !path.IsAbs(name) {
			guestPath = path.Join(r.driverDir(), name)
		}
		if below := strings.TrimPrefix(name, "/"); !fs.ValidPath(below) || below == "." {
			return fmt.Errorf("driver script %q: want a clean path, from the root or below %s", name, r.driverDir())
		}
		spec.Files = append(spec.Files, images.File{GuestPath: guestPath, Data: files[name], Mode: 0o644})
	}
	return nil
}

// inspectIn is inspect in the root of a Spec.
func (r *Runtime) inspectIn(spec *images.Spec, guestPath string) (images.Runtime, error) {
	root, err := images.NewRoot(spec)
	if err != nil {
		return images.Runtime{}, err
	}
	return r.inspect(root, guestPath)
}

func (r *Runtime) inspect(root *images.Root, guestPath string) (images.Runtime, error) {
	i, err := NewInterpreter(root, guestPath)
	if err != nil {
		return images.Runtime{}, err
	}
	found, err := r.Inspect(i)
	if err != nil {
		return images.Runtime{}, err
	}
	found.Name, found.Program = r.Name, guestPath
	return found, nil
}

// maxCandidates bounds the files that are looked at for one runtime.
const maxCandidates = 64

// Equip makes functions possible in any root file system: it looks for the interpreters
// of all runtimes in the directories of PATH, puts the drivers beside those that it finds,
// lists them in spec.Runtimes and returns notes for people on those that functions cannot
// run on. What the image runs by itself stays as it is. Of one runtime the interpreter
// that PATH leads to first is the first.
//
// What every image has is added in any case (Runtime.Everywhere).
func Equip(spec *images.Spec) (notes []string, err error) {
	root, err := images.NewRoot(spec)
	if err != nil {
		return nil, err
	}
	search := images.DefaultPath // for interpreters
	for _, v := range spec.Env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			search = list
		}
	}
	for _, r := range all {
		if len(r.Commands) == 0 || len(r.Endings) == 0 {
			continue
		}
		found, told, err := r.find(root, search, spec.Env)
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", r.Title, err)
		}
		notes = append(notes, told...)
		if len(found) == 0 {
			continue
		}
		if err := r.addDriver(spec, r.Driver()); err != nil {
			return nil, err
		}
		spec.Runtimes = append(spec.Runtimes, found...)
		spec.MemoryBytes = max(spec.MemoryBytes, cmp.Or(r.MemoryBytes, images.DefaultMemoryBytes))
	}
	if len(spec.Runtimes) == 0 {
		addEverywhere(spec)
		surround(spec, root)
		return notes, nil
	}
	slices.SortStableFunc(spec.Runtimes, func(a, b images.Runtime) int {
		return cmp.Compare(rank(a.Name), rank(b.Name))
	})
	first := spec.Runtimes[0]
	r, err := ByName(first.Name)
	if err != nil {
		return nil, err
	}
	spec.Driver = r.driverPath()
	// What an image puts in place is there whatever runs: only one program can be.
	if spec.Program == "" && len(spec.Argv) == 0 {
		spec.Program = first.Program
	}
	if slices.ContainsFunc(spec.Runtimes, func(rt images.Runtime) bool { return rt.Program != spec.Program }) {
		spec.Program = ""
	}
	if len(spec.Argv) == 0 {
		spec.Argv = first.Argv
	}
	addEverywhere(spec)
	surround(spec, root)
	return notes, nil
}

// rank puts the default runtime before the others.
func rank(name string) int {
	if name == Default().Name {
		return 0
	}
	return 1
}

// find returns a runtime's interpreters in the directories of search.
func (r *Runtime) find(root *images.Root, search string, env []string) (found []images.Runtime, notes []string, err error) {
	seen := map[string]bool{}
	for _, candidate := range r.candidates(root, search) {
		real, regular, err := root.Lookup(candidate)
		if err != nil || !regular || seen[real] {
			continue
		}
		if seen[real] = true; len(seen) > maxCandidates {
			return nil, nil, fmt.Errorf("PATH %q leads to more than %d programs that may be it", search, maxCandidates)
		}
		rt, err := r.inspect(root, candidate)
		same := func(o images.Runtime) bool { return o.Version == rt.Version }
		switch {
		case errors.Is(err, ErrOther):
		case err != nil:
			notes = append(notes, fmt.Sprintf("functions cannot run on the %s at %s: %v", r.Title, candidate, err))
		case !slices.ContainsFunc(found, same):
			rt.Argv = append(rt.Argv, r.driverPath())
			rt.Env = images.MergeEnv(rt.Env, env)
			rt.Env = r.around(&rt)
			found = append(found, rt)
		}
	}
	return found, notes, nil
}

// candidates are the paths below the directories of search whose names are those of the
// interpreter.
func (r *Runtime) candidates(root *images.Root, search string) (paths []string) {
	for dir := range strings.SplitSeq(search, ":") {
		if !path.IsAbs(dir) {
			continue
		}
		for _, pattern := range r.Commands {
			plain, _, _ := strings.Cut(strings.NewReplacer("?", "*", "[", "*").Replace(pattern), "*")
			names := root.Names(dir, plain)
			slices.Sort(names)
			for _, name := range names {
				if ok, _ := path.Match(pattern, name); ok {
					paths = append(paths, path.Join(dir, name))
				}
			}
		}
	}
	return paths
}

// surround gives an image what functions find around them. Names are asked of the
// monitor, whatever resolver the root was made beside.
func surround(spec *images.Spec, root *images.Root) {
	const resolver = "/etc/resolv.conf"
	spec.Files = slices.DeleteFunc(slices.Clone(spec.Files), func(f images.File) bool { return f.GuestPath == resolver })
	spec.Files = append(spec.Files, images.File{GuestPath: resolver, Mode: 0o644})
	if _, _, err := root.Lookup("/etc/hosts"); err != nil {
		spec.Files = append(spec.Files, images.File{GuestPath: "/etc/hosts", Data: []byte("127.0.0.1 localhost\n"), Mode: 0o644})
	}
	for _, dir := range []string{TaskRoot, "/tmp"} {
		if _, _, err := root.Lookup(dir); err != nil {
			spec.Files = append(spec.Files, images.File{GuestPath: dir, Mode: fs.ModeDir | fs.ModeSticky | 0o777})
		} else if dir == TaskRoot && cmp.Or(spec.User, spec.Container.Account()) != "" {
			// A driver that is not root's puts the function there.
			spec.Files = append(spec.Files, images.File{GuestPath: dir, Mode: fs.ModeDir | fs.ModeSticky | 0o777})
		}
	}
}
