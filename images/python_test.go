package images

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// needPython skips where this host's Python is not Debian's.
func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skip("dpkg-query is not installed")
	}
	if _, err := os.Stat(pythonCommand); err != nil {
		t.Skip("python3 is not installed")
	}
}

func TestPython(t *testing.T) {
	needPython(t)
	spec, err := Python(context.Background(), PythonOptions{
		Kernel: testKernel(), Driver: map[string][]byte{"driver.py": []byte("pass\n"), "lib/x.py": []byte("x = 1\n")},
		Main: "driver.py", Args: []string{"-v"}, Env: []string{"HOME=/var/task", "X=1"},
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
	if want := []string{spec.Program, "/usr/lib/seuss/driver.py", "-v"}; !slices.Equal(spec.Argv, want) || spec.Driver != want[1] {
		t.Errorf("argv %v, driver %s", spec.Argv, spec.Driver)
	}
	if !slices.Contains(spec.Env, "HOME=/var/task") || slices.Contains(spec.Env, "HOME=/root") || !slices.Contains(spec.Env, "X=1") {
		t.Errorf("environment %v", spec.Env)
	}
	stdlib := "/usr/lib/" + path.Base(spec.Program)
	want := []string{
		"/usr/bin/python3", stdlib + "/encodings/__init__.py", stdlib + "/json/decoder.py", stdlib + "/site.py",
		stdlib + "/lib-dynload", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6",
		"/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib/seuss/lib/x.py",
		"/etc/passwd", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/tmp", "/var/task", "/dev", "/proc", "/etc/ld.so.cache",
	}
	db, err := readPackages(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	if db.byName[numpyPackage] != nil {
		want = append(want, numpyDir+"/__init__.py", "/usr/lib/x86_64-linux-gnu/libblas.so.3", "/usr/lib/x86_64-linux-gnu/liblapack.so.3")
	}
	for _, p := range want {
		if _, err := img.Lookup(p); err != nil {
			t.Error(err)
		}
	}
	checkNothingUnwanted(t, img)
	checkSameAsHost(t, img, spec)
	checkClosed(t, img)
}

func checkNothingUnwanted(t *testing.T, img *Image) {
	t.Helper()
	err := img.Walk(func(e Entry) error {
		p := e.Path
		other := strings.HasPrefix(p, "/usr/lib/python3/dist-packages/") && !strings.HasPrefix(p, numpyDir)
		copied := strings.HasSuffix(p, ".so") && strings.Contains(p, "/dist-packages/") && !strings.HasPrefix(p, numpyDir)
		if other || copied || pythonExcluded(p) || strings.HasPrefix(p, "/etc/ssl/private") || strings.HasPrefix(p, "/usr/share/doc") {
			t.Errorf("%s does not belong into the image", p)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// checkSameAsHost compares every collected file and its time with this host.
func checkSameAsHost(t *testing.T, img *Image, spec Spec) {
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

// checkClosed requires that the image holds each needed library of each ELF, under a
// path that the dynamic loader searches, with a loaded layout.
func checkClosed(t *testing.T, img *Image) {
	t.Helper()
	objects := 0
	err := img.Walk(func(e Entry) error {
		if !e.Inode.IsRegular() {
			return nil
		}
		r, err := img.Content(e)
		if err != nil {
			return err
		}
		d, err := readDynamic(r)
		if errors.Is(err, errDynamic) {
			return nil
		} else if err != nil {
			return err
		}
		for _, lib := range d.needed {
			objects++
			found := false
			for _, dir := range append(expandSearch(d.runpath, path.Dir(e.Path)), defaultLibDirs...) {
				lib, err := img.Lookup(path.Join(dir, lib))
				found = found || err == nil && lib.Inode.LoadBytes > 0
			}
			if !found {
				t.Errorf("%s needs %s, which the image lacks", e.Path, lib)
			}
		}
		if d.interp != "" {
			if _, err := img.Lookup(d.interp); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err != nil || objects == 0 {
		t.Errorf("checked %d needed libraries: %v", objects, err)
	}
}

func TestPythonOptions(t *testing.T) {
	needPython(t)
	ctx := context.Background()
	for _, o := range []PythonOptions{
		{Main: "none.py"}, {Driver: map[string][]byte{"../x": nil}}, {Driver: map[string][]byte{"/x": nil}},
	} {
		if _, err := Python(ctx, o); err == nil || !strings.Contains(err.Error(), "driver") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	spec, err := Python(ctx, PythonOptions{Name: "bare", NoNumPy: true})
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
