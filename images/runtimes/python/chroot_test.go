package python

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"seuss/images"
	"seuss/images/runtimes"
)

// TestPythonRuns unpacks a Python image and runs its interpreter with the image
// as the only file system: whatever an import needs must be in there.
func TestPythonRuns(t *testing.T) {
	needPython(t)
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	spec, err := Runtime.Spec(context.Background(), runtimes.Options{NoDriver: true})
	if err != nil {
		t.Fatal(err)
	}
	file, _ := build(t, spec)
	img := reopen(t, file)
	root := t.TempDir()
	if err := unpack(img, root); err != nil {
		t.Fatal(err)
	}
	script := `
import asyncio, ctypes, datetime, decimal, hashlib, json, lzma, bz2, multiprocessing, random, re, socket, sqlite3, ssl, sys, threading, urllib.request, uuid, zlib, zoneinfo
t = threading.Thread(target=lambda: None); t.start(); t.join()
assert json.loads(json.dumps({"a": [1, "x"]})) == {"a": [1, "x"]}
assert hashlib.sha256(b"").hexdigest().startswith("e3b0c442")
assert sys.getfilesystemencoding() == "utf-8"
assert sys.flags.dont_write_bytecode
assert socket.gethostbyname("localhost") == "127.0.0.1"
assert json.__cached__ and sys.modules["json"].__loader__
import locale; locale.setlocale(locale.LC_ALL, "")
if NUMPY:
    import numpy; assert (numpy.ones((2, 2)) @ numpy.ones((2, 2))).sum() == 8 and numpy.linalg.det(numpy.eye(3)) == 1
print("done")
`
	numpy := "False"
	if _, err := img.Lookup(numpyDir); err == nil {
		numpy = "True"
	}
	cmd := exec.Command(spec.Program, "-c", strings.Replace(script, "NUMPY", numpy, 1))
	cmd.Dir, cmd.Env = "/", spec.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("chroot is not permitted here")
	}
	if err != nil || string(out) != "done\n" {
		t.Errorf("python: %v\n%s", err, out)
	}
}

// unpack writes the tree of an image below a directory.
func unpack(img *images.Image, root string) error {
	return img.Walk(func(e images.Entry) error {
		p := filepath.Join(root, e.Path)
		mode := fs.FileMode(e.Inode.Mode & 0o777)
		switch {
		case e.Inode.IsDir():
			if e.Number == 0 {
				return nil
			}
			return os.Mkdir(p, mode)
		case e.Inode.IsSymlink():
			return os.Symlink(e.Target, p)
		}
		r, err := img.Content(e)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	})
}
