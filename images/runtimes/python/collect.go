package python

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/source/debian"
)

const (
	command      = "/usr/bin/python3"
	numpyPackage = "python3-numpy"
	numpyDir     = "/usr/lib/python3/dist-packages/numpy"
)

// environment is the default one. One malloc arena, because the guest has one vCPU and
// each further arena would dirty pages of its own; no .pyc writing, because the root
// image is read-only and the overlay is memory.
var environment = []string{
	"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8",
	"PYTHONDONTWRITEBYTECODE=1", "MALLOC_ARENA_MAX=1",
}

var debianBinary = regexp.MustCompile(`^/usr/bin/python(3\.[0-9]+)$`)

// collect returns the Spec of an image with Debian's own Python, its standard library,
// NumPy when it is installed, and every shared object that they need. Test suites,
// IDLE, Tk and build files are left out.
func collect(ctx context.Context, o runtimes.Options) (images.Spec, error) {
	env := images.MergeEnv(environment, o.Env)
	c, err := debian.Open(ctx, o.Root, env)
	if err != nil {
		return images.Spec{}, err
	}
	exe, _, err := c.Resolve(command, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return images.Spec{}, fmt.Errorf("%s is missing; install it with: apt-get install python3", command)
	} else if err != nil {
		return images.Spec{}, err
	}
	m := debianBinary.FindStringSubmatch(exe)
	if m == nil {
		return images.Spec{}, fmt.Errorf("%s is %s, want Debian's /usr/bin/python3.X; install it with: apt-get install --reinstall python3-minimal", command, exe)
	}
	used, err := addPackages(ctx, c, m[1], !o.Leaves(numpyPart))
	if err != nil {
		return images.Spec{}, err
	}
	further, err := c.AddPackages(ctx, o.Packages)
	if err != nil {
		return images.Spec{}, err
	}
	used = append(used, further...)
	if _, err := c.Add(command); err != nil {
		return images.Spec{}, err
	}
	if err := c.AddBase(); err != nil {
		return images.Spec{}, err
	}
	if err := c.Follow(ctx, exe); err != nil {
		return images.Spec{}, err
	}
	packages, err := c.Packages(ctx, used, nil)
	if err != nil {
		return images.Spec{}, err
	}
	root, err := images.NewRoot(&images.Spec{Files: c.Files()})
	if err != nil {
		return images.Spec{}, err
	}
	i, err := runtimes.NewInterpreter(root, exe)
	if err != nil {
		return images.Spec{}, err
	}
	found, err := inspect(i)
	if err != nil {
		return images.Spec{}, err
	}
	return images.Spec{
		Program: exe, Argv: []string{exe}, Env: images.MergeEnv(found.Env, env),
		Files: c.Files(), Packages: packages, Check: check(c, exe),
	}, nil
}

// libraryModules are modules of the standard library with shared objects of other
// packages behind them.
var libraryModules = []string{"bz2", "ctypes", "decimal", "hashlib", "lzma", "sqlite3", "ssl", "uuid", "zlib"}

// importScript imports what its arguments name. The first cause is told: NumPy wraps
// the loader's message into two pages of advice.
const importScript = `import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as e:
        while e.__cause__ or e.__context__:
            e = e.__cause__ or e.__context__
        sys.exit(f"import {name}: {type(e).__name__}: {e}")
`

// check is the Spec's Check.
func check(c *debian.Collector, exe string) []string {
	argv := append([]string{exe, "-c", importScript}, libraryModules...)
	if c.Has(numpyDir + "/__init__.py") {
		argv = append(argv, path.Base(numpyDir))
	}
	return argv
}

// addPackages adds the interpreter, the standard library and NumPy, and
// returns the packages they come from.
func addPackages(ctx context.Context, c *debian.Collector, version string, numpy bool) ([]*debian.Package, error) {
	var list []*debian.Package
	var missing []string
	for _, name := range []string{"python" + version + "-minimal", "libpython" + version + "-minimal", "libpython" + version + "-stdlib"} {
		if p := c.Package(name); p != nil {
			list = append(list, p)
		} else {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("packages are missing; install them with: apt-get install %s", strings.Join(missing, " "))
	}
	for _, name := range []string{"python" + version, "libpython3-stdlib"} {
		if p := c.Package(name); p != nil {
			list = append(list, p)
		}
	}
	numpy = numpy && c.Package(numpyPackage) != nil
	if numpy {
		list = append(list, c.Package(numpyPackage))
	}
	paths, err := c.PathsOf(ctx, list)
	if err != nil {
		return nil, err
	}
	stdlib := "/usr/lib/python" + version + "/"
	// Debian's NumPy has a second copy of its core module below, which Python
	// never reaches: /usr/lib/python3/dist-packages comes first in sys.path.
	shadowed := stdlib + "dist-packages/"
	for _, p := range paths {
		wanted := strings.HasPrefix(p, stdlib) || numpy && (p == numpyDir || strings.HasPrefix(p, numpyDir+"/") || strings.HasPrefix(p, numpyDir+"-"))
		if !wanted || strings.HasPrefix(p, shadowed) || excluded(p) {
			continue
		}
		if err := c.AddOptional(p); err != nil {
			return nil, err
		}
	}
	if err := addByteCode(c); err != nil {
		return nil, err
	}
	if !numpy {
		return list, nil
	}
	// Libraries that NumPy's packages bring and may open at run time.
	deps, err := c.AddLibraries(ctx, numpyPackage)
	if err != nil {
		return nil, err
	}
	return append(list, deps...), nil
}

// excluded says whether a path of the Python packages is of no use to a
// function: test suites, IDLE and Tk, the bundled pip, and build files.
func excluded(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3":
			return true
		}
		if strings.HasPrefix(part, "config-") {
			return true
		}
	}
	return strings.HasSuffix(p, ".a") || strings.Contains(p, "/ensurepip/_bundled")
}

// addByteCode adds the byte code that this host has compiled for the collected
// modules. dpkg does not know these files.
func addByteCode(c *debian.Collector) error {
	dirs := map[string][]fs.DirEntry{}
	for _, p := range c.Paths() {
		stem, ok := strings.CutSuffix(path.Base(p), ".py")
		if !ok {
			continue
		}
		dir := path.Join(path.Dir(p), "__pycache__")
		entries, ok := dirs[dir]
		if !ok {
			var err error
			entries, err = os.ReadDir(c.Host(dir))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("collect byte code: %w", err)
			}
			dirs[dir] = entries
		}
		for _, e := range entries {
			if name := e.Name(); strings.HasPrefix(name, stem+".") && strings.HasSuffix(name, ".pyc") {
				if _, err := c.Add(path.Join(dir, name)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
