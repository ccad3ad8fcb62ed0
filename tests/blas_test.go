package tests

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/instance"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/runtimes/python"
	"seuss/vmm/vmmtest"
)

// blasLibrary is a package with an implementation of BLAS and LAPACK, and where its
// alternatives (update-alternatives(1)) lead.
type blasLibrary struct {
	packages     []string
	alternatives map[string]string // soname to the file below the library directory
}

const libraryDir = "/usr/lib/x86_64-linux-gnu/"

var blasLibraries = map[string]blasLibrary{
	"reference": {[]string{"libblas3", "liblapack3"}, map[string]string{"libblas.so.3": "blas/libblas.so.3", "liblapack.so.3": "lapack/liblapack.so.3"}},
	"OpenBLAS": {[]string{"libopenblas0-pthread"}, map[string]string{
		"libblas.so.3": "openblas-pthread/libblas.so.3", "liblapack.so.3": "openblas-pthread/liblapack.so.3",
		"libopenblas.so.0": "openblas-pthread/libopenblas.so.0",
	}},
	"ATLAS": {[]string{"libatlas3-base"}, map[string]string{"libblas.so.3": "atlas/libblas.so.3", "liblapack.so.3": "atlas/liblapack.so.3"}},
	"BLIS":  {[]string{"libblis4-pthread", "liblapack3"}, map[string]string{"libblas.so.3": "blis-pthread/libblas.so.3", "liblapack.so.3": "lapack/liblapack.so.3"}},
}

// TestBLAS: whichever BLAS a host's alternatives lead to, its Python image can import
// NumPy and compute with it. Each is laid into a copy of this host's Python; the host's
// own alternatives stay as they are.
func TestBLAS(t *testing.T) {
	t.Parallel()
	platform := vmmtest.Require(t)
	if _, err := os.Stat("/usr/lib/python3/dist-packages/numpy"); err != nil {
		t.Skip("NumPy is not installed: apt-get install python3-numpy")
	}
	root := pythonRoot(t)
	add := func(t *testing.T, spec images.Spec) *images.Image {
		t.Helper()
		store := images.Store{Dir: t.TempDir()}
		if _, err := store.Add(t.Context(), spec, images.AddOptions{}); err != nil {
			t.Fatal(err)
		}
		file, err := store.Find(spec.Name)
		if err != nil {
			t.Fatal(err)
		}
		img, err := images.Open(file, images.SkipDigest())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { img.Close() })
		return img
	}
	run := func(t *testing.T, img *images.Image, env []string, argv ...string) (int, string) {
		t.Helper()
		var said strings.Builder
		r, err := instance.RunProgram(t.Context(), platform, instance.Program{
			Image: img, Args: argv, Env: env, Timeout: patience(2 * time.Minute), Output: func(_ uint16, p []byte) { said.Write(p) },
		})
		if err != nil {
			t.Fatalf("%s\n%s", describe(err), said.String())
		}
		return r.Status, said.String()
	}
	// As NumPy computes it on the host.
	const compute = "import numpy as n; a = n.arange(9.).reshape(3, 3) + n.eye(3); print((a @ a).sum(), round(n.linalg.det(a)))"
	for name, library := range blasLibraries {
		t.Run(name, func(t *testing.T) {
			layBLAS(t, root, library)
			spec, err := python.Runtime.Spec(t.Context(), runtimes.Options{Root: root, NoDriver: true})
			if err != nil {
				t.Fatal(err)
			}
			img := add(t, spec)
			if status, said := run(t, img, spec.Env, spec.Check...); status != 0 {
				t.Errorf("the image's own check: status %d, %s", status, said)
			}
			if status, said := run(t, img, spec.Env, spec.Program, "-c", compute); status != 0 || said != "561.0 -5\n" {
				t.Errorf("status %d, %s", status, said)
			}
			if name != "OpenBLAS" {
				return
			}
			// The check finds what an incomplete image lacks, and names it.
			lib := libraryDir + "libopenblas.so.0"
			if !slices.ContainsFunc(spec.Files, func(f images.File) bool { return f.GuestPath == lib }) {
				t.Fatalf("%s was not collected", lib)
			}
			spec.Files = slices.DeleteFunc(spec.Files, func(f images.File) bool { return f.GuestPath == lib })
			if status, said := run(t, add(t, spec), spec.Env, spec.Check...); status == 0 || !strings.Contains(said, "import numpy: ImportError: libopenblas.so.0") {
				t.Errorf("without %s: status %d, %s", lib, status, said)
			}
		})
	}
}

// pythonRoot makes a root file system with what this host's Python image has, and the
// host's package database.
func pythonRoot(t *testing.T) string {
	t.Helper()
	spec, err := python.Runtime.Spec(t.Context(), runtimes.Options{NoDriver: true})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	// Parts of the C library that this host's BLAS may not need and another does.
	for _, name := range []string{"libpthread.so.0", "libdl.so.2"} {
		spec.Files = append(spec.Files, images.File{GuestPath: libraryDir + name, HostPath: libraryDir + name})
	}
	for _, f := range spec.Files {
		p := filepath.Join(root, f.GuestPath)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch {
		case f.Symlink != "":
			err = errors.Join(err, os.Symlink(f.Symlink, p))
		case f.HostPath != "":
			err = errors.Join(err, copyFile(f.HostPath, p))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "var/lib"), 0o755), os.Symlink("/var/lib/dpkg", filepath.Join(root, "var/lib/dpkg"))); err != nil {
		t.Fatal(err)
	}
	return root
}

// copyFile makes a copy: a hard link would let the root's changes reach the host.
func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// layBLAS unpacks a library's packages into a root and sets its alternatives.
func layBLAS(t *testing.T, root string, library blasLibrary) {
	t.Helper()
	for _, name := range library.packages {
		if out, err := exec.Command("dpkg-deb", "-x", debianPackage(t, name), root).CombinedOutput(); err != nil {
			t.Fatalf("unpack %s: %v: %s", name, err, out)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "etc/alternatives"), 0o755); err != nil {
		t.Fatal(err)
	}
	for soname, file := range library.alternatives {
		link := "/etc/alternatives/" + soname + "-x86_64-linux-gnu"
		for from, to := range map[string]string{libraryDir + soname: link, link: libraryDir + file} {
			err := os.Remove(filepath.Join(root, from))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if err := os.Symlink(to, filepath.Join(root, from)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// debianPackage returns the file of a package, fetched once and kept, and skips the
// test where there is none and no network to get it from.
func debianPackage(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs("../.cache/debs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	find := func() string {
		found, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			return ""
		}
		return found[0]
	}
	if found := find(); found != "" {
		return found
	}
	cmd := exec.Command("apt-get", "download", "-qq", name)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if found := find(); err == nil && found != "" {
		return found
	}
	t.Skipf("package %s is not here, and apt-get cannot fetch it: %v: %.200s", name, err, out)
	return ""
}
