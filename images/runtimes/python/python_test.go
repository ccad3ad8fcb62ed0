package python

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"seuss/images"
	"seuss/images/runtimes"
)

// needPython skips where this host's Python is not Debian's.
func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skip("dpkg-query is not installed")
	}
	if _, err := os.Stat(command); err != nil {
		t.Skip("python3 is not installed")
	}
}

func TestPython(t *testing.T) {
	needPython(t)
	spec, err := Runtime.Spec(context.Background(), runtimes.Options{
		Driver: map[string][]byte{"lib/x.py": []byte("x = 1\n")}, Args: []string{"-v"}, Env: []string{"HOME=/var/task", "X=1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	file, info := build(t, spec)
	img := reopen(t, file)
	t.Logf("%d files, %d directories, %d links, %.1f MiB, of it %.1f MiB loaded layouts, %d extents, packages %v",
		info.Files, info.Dirs, info.Links, float64(info.Bytes)/(1<<20), float64(info.LoadBytes)/(1<<20), info.Extents, spec.Packages)
	if len(info.NotLoadable) > 0 {
		t.Errorf("not loadable: %v", info.NotLoadable)
	}
	if want := []string{spec.Program, "/usr/lib/seuss/python/driver.py", "-v"}; !slices.Equal(spec.Argv, want) || spec.Driver != want[1] {
		t.Errorf("argv %v, driver %s", spec.Argv, spec.Driver)
	}
	if !slices.Contains(spec.Env, "HOME=/var/task") || slices.Contains(spec.Env, "HOME=/root") || !slices.Contains(spec.Env, "X=1") {
		t.Errorf("environment %v", spec.Env)
	}
	stdlib := "/usr/lib/" + path.Base(spec.Program)
	want := []string{
		"/usr/bin/python3", stdlib + "/encodings/__init__.py", stdlib + "/json/decoder.py", stdlib + "/site.py",
		stdlib + "/lib-dynload", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6",
		"/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib/seuss/python/lib/x.py",
		"/etc/passwd", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/tmp", "/var/task", "/dev", "/proc", "/etc/ld.so.cache",
	}
	if _, err := os.Stat(numpyDir); err == nil {
		want = append(want, numpyDir+"/__init__.py", "/usr/lib/x86_64-linux-gnu/libblas.so.3", "/usr/lib/x86_64-linux-gnu/liblapack.so.3")
	}
	for _, p := range want {
		if _, err := img.Lookup(p); err != nil {
			t.Error(err)
		}
	}
	checkNothingUnwanted(t, img)
	checkSameAsHost(t, img, spec)
}

func checkNothingUnwanted(t *testing.T, img *images.Image) {
	t.Helper()
	err := img.Walk(func(e images.Entry) error {
		p := e.Path
		other := strings.HasPrefix(p, "/usr/lib/python3/dist-packages/") && !strings.HasPrefix(p, numpyDir)
		copied := strings.HasSuffix(p, ".so") && strings.Contains(p, "/dist-packages/") && !strings.HasPrefix(p, numpyDir)
		if other || copied || excluded(p) || strings.HasPrefix(p, "/etc/ssl/private") || strings.HasPrefix(p, "/usr/share/doc") {
			t.Errorf("%s does not belong into the image", p)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// checkSameAsHost compares every collected file and its time with this host.
func checkSameAsHost(t *testing.T, img *images.Image, spec images.Spec) {
	t.Helper()
	compared := 0
	for _, f := range spec.Files {
		if f.HostPath == "" {
			continue
		}
		want, err := os.ReadFile(f.HostPath)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(f.HostPath)
		if err != nil {
			t.Fatal(err)
		}
		e, err := img.Lookup(f.GuestPath)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := read(t, img, f.GuestPath); !bytes.Equal(got, want) || e.Inode.Mtime != uint64(st.ModTime().Unix()) {
			t.Errorf("%s differs from the host", f.GuestPath)
		}
		compared++
	}
	if compared < 300 {
		t.Errorf("only %d files compared", compared)
	}
}

func TestOptions(t *testing.T) {
	needPython(t)
	ctx := context.Background()
	for _, name := range []string{"../x", "/../x", "//x", "/.", "."} {
		if _, err := Runtime.Spec(ctx, runtimes.Options{Driver: map[string][]byte{name: nil}}); err == nil || !strings.Contains(err.Error(), "driver") {
			t.Errorf("driver script %q: %v", name, err)
		}
	}
	spec, err := Runtime.Spec(ctx, runtimes.Options{Name: "bare", Without: []string{numpyPart}, NoDriver: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range spec.Files {
		if strings.Contains(f.GuestPath, "numpy") || strings.Contains(f.GuestPath, "libblas") {
			t.Errorf("%s without NumPy", f.GuestPath)
		}
	}
	if len(spec.Argv) != 1 || spec.Name != "bare" {
		t.Errorf("name %s, argv %v", spec.Name, spec.Argv)
	}
}

func TestExcluded(t *testing.T) {
	for p, want := range map[string]bool{
		"/usr/lib/python3.11/unittest/case.py":                                 false,
		"/usr/lib/python3.11/test/support.py":                                  true,
		"/usr/lib/python3.11/config-3.11-x86_64-linux-gnu/Makefile":            true,
		"/usr/lib/python3.11/configparser.py":                                  false,
		"/usr/lib/python3.11/ensurepip/_bundled/pip.whl":                       true,
		"/usr/lib/python3.11/ensurepip/__init__.py":                            false,
		"/usr/lib/python3/dist-packages/numpy/core/tests/test_x.py":            true,
		"/usr/lib/python3/dist-packages/numpy/testing/__init__.py":             false,
		"/usr/lib/python3/dist-packages/numpy/core/lib/libnpymath.a":           true,
		"/usr/lib/python3.11/tkinter/__init__.py":                              true,
		"/usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so": false,
	} {
		if got := excluded(p); got != want {
			t.Errorf("%s: excluded %v, want %v", p, got, want)
		}
	}
}

// build builds an image, and reopen and read look at it.
func build(t *testing.T, spec images.Spec) (string, images.Info) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.img")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := images.Build(t.Context(), f, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file, info
}

func reopen(t *testing.T, file string) *images.Image {
	t.Helper()
	img, err := images.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

func read(t *testing.T, img *images.Image, p string) []byte {
	t.Helper()
	e, err := img.Lookup(p)
	if err != nil {
		t.Fatal(err)
	}
	r, err := img.Content(e)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
