package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// defaultLibDirs are the directories that Debian's dynamic loader searches
// last on x86-64, ld.so(8).
var defaultLibDirs = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// cpuVariants are the subdirectories of a search directory in which the loader looks
// first, where the CPU is such (glibc's x86-64 psABI levels).
var cpuVariants = []string{"glibc-hwcaps/x86-64-v4", "glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2"}

// loaderLib is what the loader puts for $LIB on Debian.
const loaderLib = "lib/x86_64-linux-gnu"

const loaderCache = "/etc/ld.so.cache"

// loading is one way in which an object may come into a process. The same file is
// loaded by several names, such as those of update-alternatives, and the loader takes
// $ORIGIN from the name, not from where links lead to.
type loading struct {
	path  string // as the loader opens it
	rpath string // search directories that its DT_RPATH inherits, from those that load it
}

// loader finds shared objects as the dynamic loader of glibc does in the collected
// tree (dl-load.c, _dl_map_object): DT_RPATH of the object and of those that loaded
// it, LD_LIBRARY_PATH, DT_RUNPATH, the cache, the default directories.
type loader struct {
	c           *Collector
	cache       map[string][]cachedLibrary
	libraryPath []string // LD_LIBRARY_PATH
	seen        map[loading]bool
	sonames     map[string]bool   // of what was taken
	missing     map[string]string // soname to who needs it and what was tried
}

func newLoader(c *Collector) (*loader, error) {
	l := &loader{c: c, seen: map[loading]bool{}, sonames: map[string]bool{}, missing: map[string]string{}}
	real, _, err := c.Resolve(loaderCache, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil // then the loader has none either
	} else if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(c.Host(real))
	if err != nil {
		return nil, fmt.Errorf("read the loader's cache: %w", err)
	}
	if l.cache, err = parseLoaderCache(b); err != nil {
		return nil, fmt.Errorf("%s: %w; make it anew with: ldconfig", c.Host(real), err)
	}
	return l, nil
}

// Follow adds everything that the collected ELF files need, and what that needs.
// program is the one that runs, or empty. It reads the files and never runs them, as
// ldd(1) would.
func (c *Collector) Follow(ctx context.Context, program string) error {
	l, err := newLoader(c)
	if err != nil {
		return err
	}
	l.libraryPath = splitSearch(c.libraryPath)
	if program != "" {
		// The loader takes a program's $ORIGIN from /proc/self/exe, free of links, and
		// its DT_RPATH holds for whatever it loads later.
		real, err := c.Add(program)
		if err != nil {
			return err
		}
		if err := l.load(loading{path: real}); err != nil {
			return err
		}
	}
	for len(c.elfQueue) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := c.elfQueue[0]
		c.elfQueue = c.elfQueue[1:]
		if err := l.load(next); err != nil {
			return err
		}
	}
	for _, soname := range slices.Sorted(maps.Keys(l.missing)) {
		// It may come into the process through another: by name the loader takes what is
		// loaded already.
		if !l.sonames[soname] {
			return fmt.Errorf("%w: %s", fs.ErrNotExist, l.missing[soname])
		}
	}
	return c.addLoaderCache()
}

// addLoaderCache adds the loader's cache with the libraries that were collected: what else
// the host has is none of the image's business, and must not change its digest.
func (c *Collector) addLoaderCache() error {
	real, _, err := c.Resolve(loaderCache, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	b, err := os.ReadFile(c.Host(real))
	if err == nil {
		b, err = trimLoaderCache(b, c.leadsToCollected)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Host(real), err)
	}
	c.AddData(loaderCache, b)
	return nil
}

// leadsToCollected reports whether a path leads to a collected file, over collected links.
func (c *Collector) leadsToCollected(p string) bool {
	all := true
	real, info, err := c.Resolve(p, func(link, _ string) { all = all && c.Has(link) })
	return err == nil && info.Mode().IsRegular() && all && c.Has(real)
}

// load takes what one object needs.
func (l *loader) load(o loading) error {
	if l.seen[o] {
		return nil
	}
	l.seen[o] = true
	real, info, err := l.c.Resolve(o.path, nil)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	d, err := readDynamicFile(l.c.Host(real))
	if err != nil || d == nil {
		return err
	}
	l.sonames[path.Base(o.path)] = true
	if d.soname != "" {
		l.sonames[d.soname] = true
	}
	if d.interp != "" {
		if _, err := l.c.Add(d.interp); err != nil {
			return fmt.Errorf("%s needs its ELF interpreter: %w", o.path, err)
		}
	}
	origin := path.Dir(o.path)
	own := expandSearch(d.rpath, origin)
	inherited := splitSearch(o.rpath)
	// What is loaded from here looks in these too, where it has no DT_RUNPATH itself.
	passed := strings.Join(appendNew(slices.Clone(own), inherited...), ":")
	dirs := slices.Clone(own)
	if d.runpath == "" {
		dirs = append(dirs, inherited...)
	}
	dirs = append(dirs, l.libraryPath...)
	dirs = append(dirs, expandSearch(d.runpath, origin)...)
	for _, name := range d.needed {
		found, tried := l.find(expandTokens(name, origin), dirs)
		if len(found) == 0 {
			if _, ok := l.missing[name]; !ok {
				l.missing[name] = fmt.Sprintf("%s needs library %s, which is not in %s", o.path, name, strings.Join(tried, ", "))
			}
			continue
		}
		for _, p := range found {
			if _, err := l.c.Add(p); err != nil {
				return fmt.Errorf("%s needs %s: %w", o.path, name, err)
			}
			l.c.elfQueue = append(l.c.elfQueue, loading{p, passed})
		}
	}
	return nil
}

// find returns the paths that the loader may open for a needed library: its variants
// for particular CPUs, because the guest's CPU is not known here, and the plain one,
// at which it ends. tried are the places that were looked at.
func (l *loader) find(name string, dirs []string) (found, tried []string) {
	if strings.Contains(name, "/") {
		if path.IsAbs(name) && l.loadable(name) {
			return []string{name}, nil
		}
		return nil, []string{name}
	}
	look := func(dirs []string) bool {
		for _, d := range dirs {
			for _, v := range cpuVariants {
				if p := d + "/" + v + "/" + name; l.loadable(p) {
					found = append(found, p)
				}
			}
			tried = append(tried, d)
			if p := d + "/" + name; l.loadable(p) {
				found = append(found, p)
				return true
			}
		}
		return false
	}
	if look(dirs) {
		return found, tried
	}
	for _, e := range l.cache[name] {
		tried = append(tried, path.Dir(e.path))
		if !path.IsAbs(e.path) || !l.loadable(e.path) {
			continue
		}
		if found = append(found, e.path); !e.forCPU {
			return found, tried
		}
	}
	look(defaultLibDirs)
	return found, tried
}

// loadable reports whether the loader would take a file: it passes over files of
// other architectures.
func (l *loader) loadable(p string) bool {
	real, info, err := l.c.Resolve(p, nil)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	d, err := readDynamicFile(l.c.Host(real))
	return err == nil && d != nil
}

// expandTokens replaces the tokens of ld.so(8), "Dynamic string tokens".
func expandTokens(s, origin string) string {
	return strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin, "${LIB}", loaderLib, "$LIB", loaderLib).Replace(s)
}

// expandSearch returns the absolute directories of a search path. Relative ones depend
// on where a program is started and are left out.
func expandSearch(list, origin string) []string {
	return splitSearch(expandTokens(list, origin))
}

func splitSearch(list string) (dirs []string) {
	for d := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ':' || r == ';' }) {
		if path.IsAbs(d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

func appendNew(list []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
