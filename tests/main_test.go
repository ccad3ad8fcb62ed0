package tests

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/images"
	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all"
	"seuss/images/runtimes/python"
	"seuss/vmm/vmmtest"
)

// imagesDir names an image store with the Python image in it, for machines that
// have no Python to make it from (make test-nested).
var imagesDir = flag.String("images", "", "use the image store in this directory instead of making an image")

// slow is for machines on which everything takes longer, such as emulated ones.
var slow = flag.Int("slow", 1, "multiply the time that functions are given by this")

// patience is a time limit for a function on this machine.
func patience(d time.Duration) time.Duration { return d * time.Duration(*slow) }

// seussctlPath is for machines that have no Go to build the command with.
var seussctlPath = flag.String("seussctl", "", "use the seussctl at this path instead of building one")

// shared is a state directory with the Python image and its base node, made
// once for the whole package. Tests that change or damage it take a copy.
var shared struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	if seussctl.dir != "" {
		os.RemoveAll(seussctl.dir)
	}
	os.Exit(code)
}

// buildImage makes the Python image from the machine's own python3.
func buildImage(ctx context.Context, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "images"), 0o700); err != nil {
		return err
	}
	_, err := python.Runtime.Build(ctx, images.Store{Dir: filepath.Join(dir, "images")}, runtimes.Options{}, images.AddOptions{})
	return err
}

func sharedState(t testing.TB) string {
	t.Helper()
	vmmtest.Require(t)
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "seuss-tests-"); shared.err != nil {
			return
		}
		if *imagesDir != "" {
			shared.err = os.CopyFS(filepath.Join(shared.dir, "images"), os.DirFS(*imagesDir))
			return
		}
		shared.err = buildImage(context.Background(), shared.dir)
	})
	if shared.err != nil {
		t.Fatalf("prepare the state directory: %v", shared.err)
	}
	return shared.dir
}

// open opens a dispatcher on the shared state directory, which one at a time may have.
func open(t testing.TB, change func(*dispatcher.Options)) *dispatcher.Dispatcher {
	t.Helper()
	return openAt(t, sharedState(t), change)
}

// openOwn opens a dispatcher on a state directory of the test's own, which has the image
// and its base: other tests can run beside it.
func openOwn(t *testing.T, change func(*dispatcher.Options)) *dispatcher.Dispatcher {
	t.Helper()
	return openAt(t, treeCopy(t), change)
}

func openAt(t testing.TB, dir string, change func(*dispatcher.Options)) *dispatcher.Dispatcher {
	t.Helper()
	o := dispatcher.Options{StateDir: dir, Platform: vmmtest.Require(t)}
	if change != nil {
		change(&o)
	}
	d, err := dispatcher.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// deploy deploys source as function name with handler main.handler.
func deploy(t testing.TB, d *dispatcher.Dispatcher, name, source string, change func(*dispatcher.FunctionSpec)) {
	t.Helper()
	spec := dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(source)}}
	if change != nil {
		change(&spec)
	}
	if _, err := d.Deploy(context.Background(), spec); err != nil {
		t.Fatalf("deploy %s: %v", name, describe(err))
	}
}

// invoke runs a function and fails the test if there is no result.
func invoke(t testing.TB, d *dispatcher.Dispatcher, name, event string) *dispatcher.Result {
	t.Helper()
	r, err := d.Invoke(context.Background(), dispatcher.Request{Function: name, Event: []byte(event), Timeout: patience(20 * time.Second)})
	if err != nil {
		t.Fatalf("invoke %s: %s", name, describe(err))
	}
	return r
}

// output decodes the result of an invocation that must have succeeded.
func output[T any](t testing.TB, r *dispatcher.Result) T {
	t.Helper()
	if r.Error != nil {
		t.Fatalf("the function failed: %v\n%s", r.Error, strings.Join(r.Error.StackTrace, ""))
	}
	var v T
	if err := json.Unmarshal(r.Output, &v); err != nil {
		t.Fatalf("output %q: %v", r.Output, err)
	}
	return v
}

// describe shows a crash's report with the error.
func describe(err error) string {
	var crash *dispatcher.CrashError
	if as(err, &crash) {
		return fmt.Sprintf("%v\n%s", err, crash.Report)
	}
	return err.Error()
}
