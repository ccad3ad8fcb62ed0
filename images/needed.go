package images

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// defaultLibDirs are the directories that Debian's dynamic loader searches
// last on x86-64, ld.so(8).
var defaultLibDirs = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// libraryIndex finds shared objects by soname as the dynamic loader would.
type libraryIndex struct {
	cache map[string]string // soname to path, from the loader's cache
}

// newLibraryIndex reads the loader's cache through ldconfig(8). Without
// ldconfig only the default directories are searched.
func newLibraryIndex(ctx context.Context) (*libraryIndex, error) {
	prog, err := exec.LookPath("ldconfig")
	if err != nil {
		// It is an administrator's command and often not on a user's PATH.
		prog = "/sbin/ldconfig"
		if _, err := os.Stat(prog); errors.Is(err, fs.ErrNotExist) {
			return &libraryIndex{}, nil
		}
	}
	out, err := runTool(ctx, prog, "-p")
	if err != nil {
		return nil, err
	}
	return &libraryIndex{cache: parseLdconfig(out)}, nil
}

// parseLdconfig reads lines such as
//
//	libz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1
//
// and keeps the first x86-64 path of each soname. Variants for particular
// CPUs (hwcap) are left out: an image must not depend on the building host.
func parseLdconfig(out []byte) map[string]string {
	cache := map[string]string{}
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		left, path, ok := strings.Cut(strings.TrimSpace(sc.Text()), " => ")
		soname, kind, ok2 := strings.Cut(left, " (")
		if !ok || !ok2 || !strings.Contains(kind, "x86-64)") && !strings.Contains(kind, "x86-64,") || strings.Contains(kind, "hwcap") {
			continue
		}
		if _, have := cache[soname]; !have {
			cache[soname] = path
		}
	}
	return cache
}

// find returns the path of a needed library: RPATH or RUNPATH of the object
// that needs it, then the cache, then the default directories.
func (x *libraryIndex) find(soname string, runpath []string) (string, error) {
	if strings.Contains(soname, "/") {
		if !filepath.IsAbs(soname) {
			return "", fmt.Errorf("library %q is needed by a relative path", soname)
		}
		return soname, nil
	}
	var tried []string
	for _, d := range runpath {
		tried = append(tried, filepath.Join(d, soname))
	}
	if p, ok := x.cache[soname]; ok {
		tried = append(tried, p)
	}
	for _, d := range defaultLibDirs {
		tried = append(tried, filepath.Join(d, soname))
	}
	for _, p := range tried {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("library %s: %w, tried %s", soname, ErrNotFound, strings.Join(tried, ", "))
}

// needs returns the libraries and the ELF interpreter that a file asks for,
// and its own search path. A file that is no x86-64 ELF needs nothing.
func needs(path string) (libs []string, interp string, runpath []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", nil, err
	}
	defer f.Close() // opened for reading only
	st, err := f.Stat()
	if err != nil {
		return nil, "", nil, err
	}
	o, err := readObject(f, st.Size())
	if err != nil {
		// Damaged objects are carried as data, see Info.NotLoadable.
		return nil, "", nil, nil
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, "", nil, fmt.Errorf("read ELF %s: %w", path, err)
	}
	read := func(tag elf.DynTag) (list []string) {
		if err == nil {
			list, err = e.DynString(tag)
		}
		return list
	}
	libs = read(elf.DT_NEEDED)
	search := read(elf.DT_RUNPATH)
	if len(search) == 0 {
		search = read(elf.DT_RPATH)
	}
	if err != nil {
		return nil, "", nil, fmt.Errorf("read dynamic section of %s: %w", path, err)
	}
	origin := filepath.Dir(path)
	for _, list := range search {
		for d := range strings.SplitSeq(list, ":") {
			d = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(d)
			if filepath.IsAbs(d) {
				runpath = append(runpath, filepath.Clean(d))
			}
		}
	}
	return libs, o.interp, runpath, nil
}

// closeOver adds everything that the collected ELF files need, and what that
// needs. It reads the files and never runs them, as ldd(1) would.
func (c *collector) closeOver(ctx context.Context) error {
	if c.libs == nil {
		libs, err := newLibraryIndex(ctx)
		if err != nil {
			return err
		}
		c.libs = libs
	}
	for len(c.elfQueue) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := c.elfQueue[0]
		c.elfQueue = c.elfQueue[1:]
		libs, interp, runpath, err := needs(path)
		if err != nil {
			return err
		}
		for _, soname := range libs {
			p, err := c.libs.find(soname, runpath)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if _, err := c.addPath(p); err != nil {
				return fmt.Errorf("%s needs %s: %w", path, soname, err)
			}
		}
		if interp != "" {
			if _, err := c.addPath(interp); err != nil {
				return fmt.Errorf("%s needs its ELF interpreter: %w", path, err)
			}
		}
	}
	return nil
}

// runTool runs a program of the host and returns what it printed. The locale
// is fixed because the output is parsed.
func runTool(ctx context.Context, prog string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, prog, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		shown := args[:min(len(args), 4)]
		return out, fmt.Errorf("run %s %s: %w: %.300s", prog, strings.Join(shown, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
