package debian

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Package returns an installed package; nil if it is not.
func (c *Collector) Package(name string) *Package { return c.db.byName[name] }

// PathsOf returns the paths that packages hold, directories among them. They are those
// that dpkg knows; some may be missing.
func (c *Collector) PathsOf(ctx context.Context, list []*Package) ([]string, error) {
	return c.db.files(ctx, list)
}

// AddPackages adds the files of packages and of all that they depend on, documentation
// apart, with the links of update-alternatives to them, and returns the packages.
func (c *Collector) AddPackages(ctx context.Context, names []string) ([]*Package, error) {
	var used []*Package
	for _, name := range names {
		if c.Package(name) == nil {
			return nil, fmt.Errorf("package %s is not installed; install it with: apt-get install %s", name, name)
		}
		used = append(used, c.db.closure(name, func(*Package) bool { return true })...)
	}
	paths, err := c.PathsOf(ctx, used)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if strings.HasPrefix(p, "/usr/share/doc/") || strings.HasPrefix(p, "/usr/share/man/") {
			continue
		}
		if err := c.AddOptional(p); err != nil {
			return nil, err
		}
	}
	return used, c.addAlternatives()
}

// sharedObject matches libraries in the loader's directories and one level
// below, where alternatives such as BLAS lie.
var sharedObject = regexp.MustCompile(`^(/usr)?/lib/x86_64-linux-gnu/([^/]+/)?lib[^/]+\.so(\.[0-9]+)*$`)

// isLibraryPackage says whether a package is one of shared objects. The C
// library counts as none: what is needed of it is found through the ELF files,
// and the rest of it is tables of other character sets.
func isLibraryPackage(p *Package) bool {
	return strings.HasPrefix(p.name, "lib") && !strings.HasPrefix(p.name, "libc-") && p.name != "libc6" && !strings.HasSuffix(p.name, "-dev")
}

// AddLibraries adds the shared objects of the libraries that a package depends on,
// which its programs may open at run time, and returns the packages that hold them.
func (c *Collector) AddLibraries(ctx context.Context, name string) ([]*Package, error) {
	deps := slices.DeleteFunc(c.db.closure(name, isLibraryPackage), func(p *Package) bool { return p.name == name })
	paths, err := c.db.files(ctx, deps)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if sharedObject.MatchString(p) {
			if err := c.AddOptional(p); err != nil {
				return nil, err
			}
		}
	}
	return deps, nil
}

// Packages names the packages of the collected files as name=version: those
// collected from, and the owners of the libraries that they need and of other
// paths.
func (c *Collector) Packages(ctx context.Context, used []*Package, others []string) ([]string, error) {
	libs := slices.Clone(others)
	for p, f := range c.files {
		if f.HostPath != "" && strings.Contains(path.Base(p), ".so") && sharedObject.MatchString(p) {
			libs = append(libs, p)
		}
	}
	slices.Sort(libs)
	out, err := c.db.owners(ctx, libs)
	if err != nil {
		return nil, err
	}
	for _, p := range used {
		out = append(out, p.name+"="+p.version)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
