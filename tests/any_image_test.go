package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/guest"
	"seuss/images"
	"seuss/images/layer"
	"seuss/images/runtimes"
	"seuss/images/source"
	_ "seuss/images/source/all"
	"seuss/lineage"
)

// rootsVariable names a directory of root file systems, which tests/roots/setup.sh makes.
const rootsVariable = "SEUSS_ROOTS"

// addRoot builds an image from a directory, with the drivers of the runtimes in it.
func addRoot(t *testing.T, dir, name, root string) images.Config {
	t.Helper()
	found, err := source.Find(t.Context(), "dir:"+root, source.Options{Layers: layer.Store{Dir: filepath.Join(dir, "images", layer.DirName)}})
	if err != nil {
		t.Fatal(err)
	}
	tree, from, err := found.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	spec := tree.Spec(from)
	spec.Name, spec.Kernel = name, guest.Kernel()
	notes, err := runtimes.Equip(&spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		t.Log(n)
	}
	store := images.Store{Dir: filepath.Join(dir, "images")}
	if err := os.MkdirAll(store.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Add(t.Context(), spec, images.AddOptions{}); err != nil {
		t.Fatal(err)
	}
	file, err := store.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	img, err := images.Open(file, images.SkipDigest())
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	return img.Config()
}

// TestFunctionsInAnyImage: in each root of SEUSS_ROOTS every interpreter serves functions
// from snapshots, with the packages of the root, and programs are functions too; the answers
// are those of the same program in a chroot.
func TestFunctionsInAnyImage(t *testing.T) {
	roots := os.Getenv(rootsVariable)
	if roots == "" {
		t.Skip(rootsVariable + " names no directory of roots: make test-images")
	}
	list, err := filepath.Glob(filepath.Join(roots, "*.done"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no roots in %s: %v", roots, err)
	}
	for _, done := range list {
		root := strings.TrimSuffix(done, ".done")
		t.Run(filepath.Base(root), func(t *testing.T) { functionsInRoot(t, root) })
	}
}

func functionsInRoot(t *testing.T, root string) {
	dir := t.TempDir()
	config := addRoot(t, dir, "any", root)
	d := openAt(t, dir, nil)
	ran := 0
	for _, rt := range config.Runtimes {
		for _, c := range anyImageCases {
			if c.runtime != rt.Name {
				continue
			}
			if there, _ := filepath.Glob(filepath.Join(root, c.needs)); len(there) == 0 {
				continue
			}
			ran++
			t.Run(c.name+"-"+rt.Version, func(t *testing.T) { functionInRoot(t, d, root, &c, rt) })
		}
	}
	for _, c := range anyImagePrograms {
		if _, err := os.Lstat(filepath.Join(root, c.command[0])); err != nil {
			continue
		}
		ran++
		t.Run(c.name, func(t *testing.T) { programInRoot(t, d, root, &c) })
	}
	if ran == 0 {
		t.Errorf("nothing ran in %s", root)
	}
}

// functionInRoot compares a function's answer with that of the same interpreter in a chroot.
func functionInRoot(t *testing.T, d *dispatcher.Dispatcher, root string, c *anyImageCase, rt images.Runtime) {
	flag, program := c.program()
	native := exec.Command("chroot", root, rt.Program, flag, program)
	native.Env = append([]string{"HOME=/root", "LANG=C.UTF-8"}, rt.Env...)
	want, err := native.Output()
	if err != nil {
		t.Fatalf("native: %v\n%s", err, stderrOf(err))
	}
	want = lastLineOf(want) // libraries print, too
	file, code := c.function()
	r, err := runtimes.ByName(rt.Name)
	if err != nil {
		t.Fatal(err)
	}
	name := c.name + "-" + strings.ReplaceAll(rt.Version, ".", "-")
	spec := dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Image: "any", Files: map[string][]byte{file: []byte(code)}}
	spec.Settings.Runtime = r.LambdaName(rt.Version)
	if _, err := d.Deploy(t.Context(), spec); err != nil {
		t.Fatal(describe(err))
	}
	for range 2 { // each instance is fresh
		got := output[[2]json.RawMessage](t, invokeWithin(t, d, name, `{}`))
		if !sameJSON(got[0], want) || string(got[1]) != "1" {
			t.Errorf("%s, natively %s", got, want)
		}
	}
}

// programInRoot compares what a function that is a program prints with what the program
// prints in a chroot.
func programInRoot(t *testing.T, d *dispatcher.Dispatcher, root string, c *anyImageProgram) {
	spec := dispatcher.FunctionSpec{Name: c.name, Image: "any"}
	spec.Settings.Program = &functions.Program{Contract: "program", Command: c.command, SharedGenerators: true}
	if _, err := d.Deploy(t.Context(), spec); err != nil {
		t.Fatal(describe(err))
	}
	for range 2 {
		native := exec.Command("chroot", append([]string{root}, c.command...)...)
		native.Stdin = strings.NewReader(c.event)
		want, err := native.Output()
		if err != nil {
			t.Fatalf("native: %v\n%s", err, stderrOf(err))
		}
		if got := invokeWithin(t, d, c.name, c.event); got.Error != nil || !sameJSON(got.Output, want) {
			t.Errorf("%s, %+v, natively %s", got.Output, got.Error, want)
		}
	}
}

// invokeWithin gives a function minutes: many of them run on a machine that does other work.
func invokeWithin(t *testing.T, d *dispatcher.Dispatcher, name, event string) *dispatcher.Result {
	t.Helper()
	r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: []byte(event), Timeout: patience(3 * time.Minute)})
	if err != nil {
		t.Fatal(describe(err))
	}
	return r
}

func lastLineOf(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

// hostRoot makes a root with the host's own Python, so that an image is built from it as
// from any other.
func hostRoot(t *testing.T) string {
	t.Helper()
	spec, err := runtimes.Default().Collect(t.Context(), runtimes.Options{Without: []string{"numpy"}})
	if err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	for _, f := range spec.Files {
		to := filepath.Join(root, f.GuestPath)
		dir := filepath.Dir(to)
		if f.Mode.IsDir() {
			dir = to
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		switch {
		case f.Mode.IsDir():
		case f.Symlink != "":
			err = os.Symlink(f.Symlink, to)
		case f.HostPath != "":
			err = copyInto(f.HostPath, to)
		default:
			err = os.WriteFile(to, f.Data, 0o644)
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	return root
}

func copyInto(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// TestFunctionsInARoot: a root from elsewhere serves the version of its interpreter, with
// the root's own packages and none of the driver's modules but those for functions, and no
// other version.
func TestFunctionsInARoot(t *testing.T) {
	t.Parallel()
	root := hostRoot(t)
	packages := filepath.Join(root, "usr/lib/python3/dist-packages")
	if err := os.MkdirAll(packages, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(packages, "greeting.py"), []byte("WORD = 'hello'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := addRoot(t, dir, "any", root)
	i := slices.IndexFunc(config.Runtimes, func(rt images.Runtime) bool { return rt.Name == "python" })
	if i < 0 {
		t.Fatalf("runtimes %+v", config.Runtimes)
	}
	version := config.Runtimes[i].Version
	d := openAt(t, dir, nil)
	spec := dispatcher.FunctionSpec{Name: "f", Handler: "protocol.handler", Image: "any", Files: map[string][]byte{"protocol.py": []byte(`
import platform, sys
import greeting
def handler(event, context):
    try:
        import holes
        seen = True
    except ImportError:
        seen = False
    return [greeting.WORD, platform.python_version(), seen, [p for p in sys.path if "seuss" in p]]
`)}}
	spec.Settings.Runtime = "python"
	if _, err := d.Deploy(t.Context(), spec); err != nil {
		t.Fatal(describe(err))
	}
	if got, want := string(invoke(t, d, "f", `{}`).Output), fmt.Sprintf(`["hello", "%s", false, ["/usr/lib/seuss/python/modules"]]`, version); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	minor := strings.Join(strings.Split(version, ".")[:2], ".")
	spec.Name, spec.Image, spec.Settings.Runtime = "lambda", "", "python"+minor
	if _, err := d.Deploy(t.Context(), spec); err != nil {
		t.Fatal(describe(err))
	}
	for _, image := range []string{"any", ""} {
		spec.Name, spec.Image, spec.Settings.Runtime = "other", image, "python3.99"
		_, err := d.Deploy(context.Background(), spec)
		if !errors.Is(err, lineage.ErrInvalid) || !errors.Is(err, runtimes.ErrNotServed) || !strings.Contains(err.Error(), "python3.99") || !strings.Contains(err.Error(), "image build python3.99 --from") {
			t.Errorf("image %q: %v", image, err)
		}
	}
	spec.Image, spec.Settings.Runtime = "any", "node"
	if _, err := d.Deploy(t.Context(), spec); !errors.Is(err, runtimes.ErrNotServed) {
		t.Errorf("Node.js where there is none: %v", err)
	}
}
