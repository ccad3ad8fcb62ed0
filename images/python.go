package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// DriverDir is where the scripts of a runtime driver lie in an image.
const DriverDir = "/usr/lib/seuss"

const (
	pythonCommand = "/usr/bin/python3"
	numpyPackage  = "python3-numpy"
	numpyDir      = "/usr/lib/python3/dist-packages/numpy"
	glibcDir      = "/lib/x86_64-linux-gnu/"
)

// PythonOptions says what goes into a Python image besides the interpreter.
type PythonOptions struct {
	Name        string            // of the image; "" = python
	Kernel      []byte            // the kernel library, see Spec.Kernel
	MemoryBytes uint64            // see Spec.MemoryBytes
	Driver      map[string][]byte // scripts by path below DriverDir
	Main        string            // the key of Driver that Python runs; "" = none
	Args        []string          // arguments behind the interpreter and Main
	Env         []string          // added to the environment, or replacing a default
	Labels      map[string]string
	NoNumPy     bool // leave NumPy out although it is installed
	// Root is the host directory of the file system to collect from, with the
	// database of dpkg in it; "" = the host's own.
	Root string
}

// pythonEnv is the default environment. One malloc arena, because the guest
// has one vCPU and each further arena would dirty pages of its own; no .pyc
// writing, because the root image is read-only and the overlay is memory.
var pythonEnv = []string{
	"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8",
	"PYTHONDONTWRITEBYTECODE=1", "MALLOC_ARENA_MAX=1",
}

var pythonBinary = regexp.MustCompile(`^/usr/bin/python(3\.[0-9]+)$`)

// Python returns the Spec of an image with this host's own Debian Python, its
// standard library, NumPy when it is installed, and every shared object that
// they need. Test suites, IDLE, Tk and build files are left out.
func Python(ctx context.Context, opts PythonOptions) (Spec, error) {
	spec, err := python(ctx, opts)
	if err != nil {
		return Spec{}, fmt.Errorf("collect a Python image: %w", err)
	}
	return spec, nil
}

func python(ctx context.Context, opts PythonOptions) (Spec, error) {
	c := newCollector(opts.Root)
	exe, _, err := c.walk(pythonCommand, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return Spec{}, fmt.Errorf("%s is missing; install it with: apt-get install python3", pythonCommand)
	} else if err != nil {
		return Spec{}, err
	}
	m := pythonBinary.FindStringSubmatch(exe)
	if m == nil {
		return Spec{}, fmt.Errorf("%s is %s, want Debian's /usr/bin/python3.X; install it with: apt-get install --reinstall python3-minimal", pythonCommand, exe)
	}
	env := MergeEnv(pythonEnv, opts.Env)
	c.libraryPath = lookupEnv(env, libraryPathVariable)
	db, err := readPackages(ctx, opts.Root)
	if err != nil {
		return Spec{}, err
	}
	used, err := c.addPythonPackages(ctx, db, m[1], !opts.NoNumPy)
	if err != nil {
		return Spec{}, err
	}
	if _, err := c.addPath(pythonCommand); err != nil {
		return Spec{}, err
	}
	if err := c.addRuntimeFiles(); err != nil {
		return Spec{}, err
	}
	if err := c.closeOver(ctx, exe); err != nil {
		return Spec{}, err
	}
	main, err := c.addDriver(opts.Driver, opts.Main)
	if err != nil {
		return Spec{}, err
	}
	packages, err := c.packages(ctx, db, used, nil)
	if err != nil {
		return Spec{}, err
	}
	argv := []string{exe}
	if main != "" {
		argv = append(argv, main)
	}
	lockCode, err := lockCodeEnv(c.host(exe))
	if err != nil {
		return Spec{}, err
	}
	name := opts.Name
	if name == "" {
		name = "python"
	}
	return Spec{
		Name: name, Program: exe, Argv: append(argv, opts.Args...), Env: MergeEnv(lockCode, env),
		MemoryBytes: opts.MemoryBytes, Kernel: opts.Kernel, Files: c.sorted(),
		Driver: main, Packages: packages, Labels: opts.Labels, Check: c.pythonCheck(exe),
	}, nil
}

// pythonModules are modules of the standard library with shared objects of other
// packages behind them.
var pythonModules = []string{"bz2", "ctypes", "decimal", "hashlib", "lzma", "sqlite3", "ssl", "uuid", "zlib"}

// pythonImport imports what its arguments name. The first cause is told: NumPy wraps
// the loader's message into two pages of advice.
const pythonImport = `import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as e:
        while e.__cause__ or e.__context__:
            e = e.__cause__ or e.__context__
        sys.exit(f"import {name}: {type(e).__name__}: {e}")
`

// pythonCheck is the Spec's Check.
func (c *collector) pythonCheck(exe string) []string {
	argv := append([]string{exe, "-c", pythonImport}, pythonModules...)
	if _, ok := c.files[numpyDir+"/__init__.py"]; ok {
		argv = append(argv, path.Base(numpyDir))
	}
	return argv
}

// addPythonPackages adds the interpreter, the standard library and NumPy, and
// returns the packages they come from.
func (c *collector) addPythonPackages(ctx context.Context, db *debPackages, version string, numpy bool) ([]*debPackage, error) {
	var list []*debPackage
	var missing []string
	for _, name := range []string{"python" + version + "-minimal", "libpython" + version + "-minimal", "libpython" + version + "-stdlib"} {
		if p := db.byName[name]; p != nil {
			list = append(list, p)
		} else {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("packages are missing; install them with: apt-get install %s", strings.Join(missing, " "))
	}
	for _, name := range []string{"python" + version, "libpython3-stdlib"} {
		if p := db.byName[name]; p != nil {
			list = append(list, p)
		}
	}
	numpy = numpy && db.byName[numpyPackage] != nil
	if numpy {
		list = append(list, db.byName[numpyPackage])
	}
	paths, err := db.files(ctx, list)
	if err != nil {
		return nil, err
	}
	stdlib := "/usr/lib/python" + version + "/"
	// Debian's NumPy has a second copy of its core module below, which Python
	// never reaches: /usr/lib/python3/dist-packages comes first in sys.path.
	shadowed := stdlib + "dist-packages/"
	for _, p := range paths {
		wanted := strings.HasPrefix(p, stdlib) || numpy && (p == numpyDir || strings.HasPrefix(p, numpyDir+"/") || strings.HasPrefix(p, numpyDir+"-"))
		if !wanted || strings.HasPrefix(p, shadowed) || pythonExcluded(p) {
			continue
		}
		if err := c.addOptional(p); err != nil {
			return nil, err
		}
	}
	if err := c.addByteCode(); err != nil {
		return nil, err
	}
	if !numpy {
		return list, nil
	}
	// Libraries that NumPy's packages bring and may open at run time.
	deps := db.closure(numpyPackage, isLibraryPackage)
	deps = slices.DeleteFunc(deps, func(p *debPackage) bool { return p.name == numpyPackage })
	if paths, err = db.files(ctx, deps); err != nil {
		return nil, err
	}
	for _, p := range paths {
		if sharedObject.MatchString(p) {
			if err := c.addOptional(p); err != nil {
				return nil, err
			}
		}
	}
	return append(list, deps...), nil
}

// sharedObject matches libraries in the loader's directories and one level
// below, where alternatives such as BLAS lie.
var sharedObject = regexp.MustCompile(`^(/usr)?/lib/x86_64-linux-gnu/([^/]+/)?lib[^/]+\.so(\.[0-9]+)*$`)

// isLibraryPackage says whether a package is one of shared objects. The C
// library counts as none: what is needed of it is found through the ELF files,
// and the rest of it is tables of other character sets.
func isLibraryPackage(p *debPackage) bool {
	return strings.HasPrefix(p.name, "lib") && !strings.HasPrefix(p.name, "libpython") &&
		!strings.HasPrefix(p.name, "libc-") && p.name != "libc6" && !strings.HasSuffix(p.name, "-dev")
}

// pythonExcluded says whether a path of the Python packages is of no use to a
// function: test suites, IDLE and Tk, the bundled pip, and build files.
func pythonExcluded(p string) bool {
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
func (c *collector) addByteCode() error {
	dirs := map[string][]fs.DirEntry{}
	for _, p := range slices.Sorted(maps.Keys(c.files)) {
		stem, ok := strings.CutSuffix(path.Base(p), ".py")
		if !ok {
			continue
		}
		dir := path.Join(path.Dir(p), "__pycache__")
		entries, ok := dirs[dir]
		if !ok {
			var err error
			entries, err = os.ReadDir(c.host(dir))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("collect byte code: %w", err)
			}
			dirs[dir] = entries
		}
		for _, e := range entries {
			if name := e.Name(); strings.HasPrefix(name, stem+".") && strings.HasSuffix(name, ".pyc") {
				if _, err := c.addPath(path.Join(dir, name)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// addRuntimeFiles adds what the C library and Python expect around them.
func (c *collector) addRuntimeFiles() error {
	// pthread_cancel and pthread_exit open libgcc_s by name (glibc,
	// sysdeps/nptl); the resolver of older ones opens libnss_files and libnss_dns.
	for _, p := range []string{"/lib64/ld-linux-x86-64.so.2", glibcDir + "libc.so.6", glibcDir + "libgcc_s.so.1"} {
		if _, err := c.addPath(p); err != nil {
			return fmt.Errorf("%w; install it with: apt-get install libc6 libgcc-s1", err)
		}
	}
	for _, p := range []string{
		glibcDir + "libnss_files.so.2", glibcDir + "libnss_dns.so.2", glibcDir + "libresolv.so.2", "/etc/ld.so.cache",
		"/etc/ssl/openssl.cnf", "/usr/share/zoneinfo/UTC", "/etc/services", "/etc/protocols",
		"/etc/ssl/certs/ca-certificates.crt", // public, and what cert.pem leads to: TLS to servers that the network allows
	} {
		if err := c.addOptional(p); err != nil {
			return err
		}
	}
	// The links only: what else certs and private hold stays on the host.
	for _, name := range []string{"cert.pem", "certs", "openssl.cnf"} {
		if err := c.addLink("/usr/lib/ssl/" + name); err != nil {
			return err
		}
	}
	if err := c.addTree("/usr/lib/locale/C.utf8"); err != nil {
		return err
	}
	c.files["/etc/localtime"] = File{GuestPath: "/etc/localtime", Symlink: "/usr/share/zoneinfo/UTC"}
	c.addData("/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"))
	c.addData("/etc/group", []byte("root:x:0:\nnogroup:x:65534:\n"))
	c.addData("/etc/hosts", []byte("127.0.0.1 localhost\n"))
	// None is named, so resolvers ask 127.0.0.1: there the monitor answers.
	c.addData("/etc/resolv.conf", nil)
	c.addData("/etc/nsswitch.conf", []byte("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"))
	for _, p := range []string{"/dev", "/proc", "/run", "/sys", "/var/task"} {
		c.addDir(p, 0o755)
	}
	c.addDir("/root", 0o700)
	c.addDir("/tmp", fs.ModeSticky|0o777)
	c.addDir("/var/tmp", fs.ModeSticky|0o777)
	return nil
}

// addTree adds every file below a directory, if there is one.
func (c *collector) addTree(dir string) error {
	err := filepath.WalkDir(c.host(dir), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		_, err = c.addPath(path.Join(dir, strings.TrimPrefix(p, c.host(dir))))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// addDriver adds a driver's files and returns the guest path of main.
func (c *collector) addDriver(driver map[string][]byte, main string) (string, error) {
	for name, text := range driver {
		p := path.Join(DriverDir, name)
		if !fs.ValidPath(name) || name == "." {
			return "", fmt.Errorf("driver script %q: want a clean path below %s", name, DriverDir)
		}
		c.addData(p, text)
	}
	if main == "" {
		return "", nil
	}
	if _, ok := driver[main]; !ok {
		return "", fmt.Errorf("driver has no script %q", main)
	}
	return path.Join(DriverDir, main), nil
}

// packages names the packages of the collected files as name=version: those
// collected from, and the owners of the libraries that they need and of other
// paths.
func (c *collector) packages(ctx context.Context, db *debPackages, used []*debPackage, others []string) ([]string, error) {
	libs := slices.Clone(others)
	for p, f := range c.files {
		if f.HostPath != "" && strings.Contains(path.Base(p), ".so") && !strings.HasPrefix(p, "/usr/lib/python3") {
			libs = append(libs, p)
		}
	}
	slices.Sort(libs)
	out, err := db.owners(ctx, libs)
	if err != nil {
		return nil, err
	}
	for _, p := range used {
		out = append(out, p.name+"="+p.version)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// MergeEnv returns the environment of the defaults with those of the same name replaced, then the
// others.
func MergeEnv(defaults, extra []string) []string {
	out := slices.Clone(defaults)
	for _, e := range extra {
		key, _, _ := strings.Cut(e, "=")
		i := slices.IndexFunc(out, func(o string) bool { return strings.HasPrefix(o, key+"=") })
		if i >= 0 {
			out[i] = e
		} else {
			out = append(out, e)
		}
	}
	return out
}

// libraryPathVariable has the dynamic loader search further directories.
const libraryPathVariable = "LD_LIBRARY_PATH"

// lookupEnv returns the value of a variable of an environment; "" if it has none.
func lookupEnv(env []string, name string) string {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}
