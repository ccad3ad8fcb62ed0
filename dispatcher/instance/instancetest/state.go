// Package instancetest helps tests that need machines: a state directory with a small
// image.
//
// Ownership: what StateDir makes belongs to all tests of a process, one after the
// other, until Main ends them. There is no lock beside its sync.Once.
package instancetest

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"seuss/images"
	"seuss/images/runtimes"
	_ "seuss/images/runtimes/loader" // programs
	"seuss/images/runtimes/python"
)

// imagesDir names an image store with such an image in it, for machines that have
// no Python to make it from (make test-nested).
var imagesDir = flag.String("images", "", "use the image store in this directory instead of making an image")

// layered makes that image of a layer.
var layered = flag.Bool("layered", false, "store the files of the image that is made as a layer")

// Slow is by what the time that functions are given is multiplied.
var Slow = flag.Int("slow", 1, "multiply the time that functions are given by this, on machines where everything takes longer")

var shared struct {
	once sync.Once
	dir  string
	err  error
}

// Main runs a package's tests.
func Main(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// StateDir returns a state directory with a small Python image, made once.
func StateDir(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.dir, shared.err = MakeStateDir(context.Background()) })
	if shared.err != nil {
		t.Fatalf("prepare the state directory: %v", shared.err)
	}
	return shared.dir
}

// MakeStateDir makes such a directory for the caller, who removes it, and if there is
// an error too.
func MakeStateDir(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "seuss-state-")
	if err != nil {
		return "", err
	}
	store := images.Store{Dir: filepath.Join(dir, "images")}
	if *imagesDir != "" {
		return dir, os.CopyFS(store.Dir, os.DirFS(*imagesDir))
	}
	if err := os.MkdirAll(store.Dir, 0o755); err != nil {
		return dir, err
	}
	_, err = python.Runtime.Build(ctx, store, runtimes.Options{MemoryBytes: 72 << 20, Without: []string{"numpy"}}, images.AddOptions{Layered: *layered})
	return dir, err
}
