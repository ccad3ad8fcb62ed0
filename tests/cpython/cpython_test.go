package cpython

import (
	"bufio"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/runtimes/python"
	"seuss/tests/boot"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest"
)

var (
	all     = flag.Bool("all", false, "run every module of modules.txt, not only CI's slice")
	only    = flag.String("modules", "", "run these modules only, separated by commas")
	results = flag.String("results", "", "append one line a module to this `file`")
)

//go:embed run.py
var runner []byte

//go:embed modules.txt
var list string

const (
	library = "/usr/lib/python3.11"
	// moduleTimeout bounds one module. The slowest that must pass took
	// 62 s on two cores that others used too.
	moduleTimeout = 3 * time.Minute
)

// module is a row of modules.txt: name, expectation and reason or "ci".
type module struct {
	name, expect, note string
}

func modules(t *testing.T) []module {
	t.Helper()
	var out []module
	s := bufio.NewScanner(strings.NewReader(list))
	for s.Scan() {
		line, _, _ := strings.Cut(s.Text(), "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) < 2 || !slices.Contains([]string{"pass", "skip", "fail"}, f[1]) {
			t.Fatalf("modules.txt: %q", line)
		}
		out = append(out, module{f[0], f[1], strings.Join(f[2:], " ")})
	}
	return out
}

// image builds an image of this host's Python with the suite.
func image(t *testing.T) *boot.Image {
	t.Helper()
	spec, err := python.Runtime.Spec(context.Background(), runtimes.Options{
		Name: "cpython-tests", MemoryBytes: 1 << 30, Without: []string{"numpy"}, NoDriver: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	spec.Files = append(spec.Files, images.File{GuestPath: images.DriverDir + "/run.py", Data: runner})
	have := map[string]bool{}
	for _, f := range spec.Files {
		have[f.GuestPath] = true
	}
	// Everything that the image of a function leaves out.
	err = filepath.WalkDir(library, func(p string, e fs.DirEntry, err error) error {
		if err != nil || have[p] {
			return err
		}
		if e.IsDir() && (strings.HasPrefix(e.Name(), "config-") || e.Name() == "dist-packages") {
			return filepath.SkipDir
		}
		if e.Type().IsRegular() {
			spec.Files = append(spec.Files, images.File{GuestPath: p, HostPath: p})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	env = spec.Env
	return boot.New(t, spec)
}

var env []string

// run runs one module and says what became of it: pass, skip or fail, and why.
func run(p platform.Platform, img *boot.Image, name string) (got, why string, r boot.Result, err error) {
	r, err = img.Run(p, []string{"/usr/bin/python3.11", images.DriverDir + "/run.py", "-v", name}, env, moduleTimeout)
	if err != nil {
		return "", "", r, err
	}
	switch {
	case r.Kind != vmm.StopExit:
		return "fail", r.Ended(), r, nil
	case strings.Contains(r.Stdout, "\nTests result: SUCCESS"):
		if strings.Contains(r.Stdout, "1 test skipped:") {
			return "skip", firstLine(r.Stdout, name+" skipped"), r, nil
		}
		return "pass", "", r, nil
	case strings.Contains(r.Stdout, "Tests result: NO TEST"):
		return "skip", firstLine(r.Stdout, name+" skipped"), r, nil
	}
	return "fail", fmt.Sprintf("%s: %s", r.Ended(), failures(r.Stdout+r.Stderr)), r, nil
}

func firstLine(text, with string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, with) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// failures names the tests that failed.
func failures(text string) string {
	var names []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "ERROR: ") || strings.HasPrefix(line, "FAIL: ") {
			names = append(names, strings.Fields(line)[1])
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// TestCPython: every module ends as modules.txt says.
func TestCPython(t *testing.T) {
	if _, err := os.Stat(library + "/test/test_grammar.py"); err != nil {
		t.Skip("skipped without libpython3.11-testsuite: make test-cpython installs it")
	}
	platform := vmmtest.Require(t)
	img := image(t)
	var log *os.File
	if *results != "" {
		f, err := os.OpenFile(*results, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		log = f
	}
	t.Run("modules", func(t *testing.T) {
		for _, m := range modules(t) {
			switch {
			case *only != "" && !slices.Contains(strings.Split(*only, ","), m.name):
				continue
			case *only == "" && !*all && m.note != "ci":
				continue
			}
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				got, why, r, err := run(platform, img, m.name)
				if err != nil {
					t.Fatal(err)
				}
				if log != nil {
					fmt.Fprintf(log, "%s\t%s\t%.1f\t%s\t%v\n", m.name, got, r.Took.Seconds(), why, r.Unsupported)
				}
				if got != m.expect {
					t.Errorf("%s (%s), expected: %s\n%s\n%s\n%s", got, why, m.expect, r.Stdout, r.Stderr, r.Report)
				}
			})
		}
	})
}
