package gostd

import (
	"bufio"
	_ "embed"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/images"
	"seuss/tests/boot"
	"seuss/vmm"
	"seuss/vmm/vmmtest"
)

var (
	all  = flag.Bool("all", false, "run every package of packages.tsv, not only CI's slice")
	only = flag.String("packages", "", "run these packages only, separated by commas")
	logs = flag.String("logs", "", "write the output of each package into this `directory`")
)

//go:embed packages.tsv
var list string

// memory of a guest, in bytes: the runtime's tests reserve address space by the
// half gigabyte, and a guest has no address space but its memory.
const memory = 4 << 30

// runTimeout bounds one package.
const runTimeout = 5 * time.Minute

// pkg is a package of packages.tsv.
type pkg struct {
	name string
	ci   bool
	skip []string // patterns of tests that are left out
}

// packages reads the list: a line "package NAME [ci]" and, below it, lines
// "skip PATTERN REASON", separated by tabs.
func packages(t *testing.T) []pkg {
	t.Helper()
	var out []pkg
	s := bufio.NewScanner(strings.NewReader(list))
	for s.Scan() {
		line := s.Text()
		f := strings.Split(line, "\t")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case f[0] == "package" && len(f) == 2 || f[0] == "package" && len(f) == 3 && f[2] == "ci":
			out = append(out, pkg{name: f[1], ci: len(f) == 3})
		case f[0] == "skip" && len(f) == 3 && len(out) > 0 && f[2] != "":
			if _, err := regexp.Compile(f[1]); err != nil {
				t.Fatalf("packages.tsv: %v", err)
			}
			out[len(out)-1].skip = append(out[len(out)-1].skip, f[1])
		default:
			t.Fatalf("packages.tsv: %q", line)
		}
	}
	return out
}

// compile makes the static test program of a package.
func compile(t *testing.T, name string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "test")
	cmd := exec.Command("go", "test", "-c", "-o", bin, name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go test -c %s: %v\n%s", name, err, out)
	}
	return bin
}

// image holds the test program, the package's own files in the working
// directory, and what tests look for in a Unix system.
func image(t *testing.T, goroot, name string) *boot.Image {
	t.Helper()
	spec := images.Spec{Name: "gostd", Program: "/test", MemoryBytes: memory, Files: []images.File{
		{GuestPath: "/test", HostPath: compile(t, name)},
	}}
	dir := filepath.Join(goroot, "src", name)
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == "." {
			return err
		}
		if e.IsDir() && !strings.HasPrefix(rel, "testdata") {
			spec.Files = append(spec.Files, images.File{GuestPath: "/" + rel, Mode: fs.ModeDir | 0o755})
			return fs.SkipDir
		}
		if e.Type().IsRegular() {
			spec.Files = append(spec.Files, images.File{GuestPath: "/" + rel, HostPath: p})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "/etc/group": "root:x:0:\n", "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
		"/etc/nsswitch.conf": "hosts: files dns\n", "/etc/resolv.conf": "", "/usr/bin/env": "", "/usr/bin/ls": "", "/usr/bin/true": "",
	} {
		spec.Files = append(spec.Files, images.File{GuestPath: name, Data: []byte(content), Mode: 0o644})
	}
	for _, p := range []string{"/etc/services", "/etc/protocols"} {
		if _, err := os.Stat(p); err == nil {
			spec.Files = append(spec.Files, images.File{GuestPath: p, HostPath: p})
		}
	}
	// Some packages share their data: it is looked for in ../../testdata.
	for _, name := range []string{"Isaac.Newton-Opticks.txt"} {
		if p := filepath.Join(goroot, "src/testdata", name); exists(p) && !exists(filepath.Join(dir, "testdata", name)) {
			spec.Files = append(spec.Files, images.File{GuestPath: "/testdata/" + name, HostPath: p})
		}
	}
	if zone := filepath.Join(goroot, "lib/time/zoneinfo.zip"); exists(zone) {
		spec.Files = append(spec.Files, images.File{GuestPath: "/goroot/lib/time/zoneinfo.zip", HostPath: zone})
	}
	return boot.New(t, spec)
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// failures shortens a run's output to what failed.
func failures(out string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(out, "\n") {
		if strings.Contains(line, "--- FAIL") || strings.HasPrefix(line, "panic:") {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

// TestStandardLibrary: every package passes, but for the tests that
// packages.tsv leaves out.
func TestStandardLibrary(t *testing.T) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skip("skipped without the go command:", err)
	}
	goroot := strings.TrimSpace(string(out))
	if !exists(filepath.Join(goroot, "src/sync/mutex_test.go")) {
		t.Skip("skipped: this installation of Go is without its own tests")
	}
	platform := vmmtest.Require(t)
	for _, p := range packages(t) {
		switch {
		case *only != "" && !slices.Contains(strings.Split(*only, ","), p.name):
			continue
		case *only == "" && !*all && !p.ci:
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			args := []string{"/test", "-test.short", "-test.v", "-test.timeout=" + (runTimeout - 10*time.Second).String()}
			if len(p.skip) > 0 {
				args = append(args, "-test.skip="+strings.Join(p.skip, "|"))
			}
			env := []string{"HOME=/root", "TMPDIR=/tmp", "PATH=/bin", "GOROOT=/goroot", "USER=root"}
			r, err := image(t, goroot, p.name).Run(platform, args, env, runTimeout)
			if err != nil {
				t.Fatal(err)
			}
			if *logs != "" {
				if err := os.WriteFile(filepath.Join(*logs, strings.ReplaceAll(p.name, "/", "_")), []byte(r.Stdout+r.Stderr), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			passed := strings.Count(r.Stdout, "--- PASS: ")
			t.Logf("%s after %.1f s, %d tests passed", r.Ended(), r.Took.Seconds(), passed)
			if r.Kind != vmm.StopExit || r.Code != 0 || passed == 0 {
				t.Errorf("%s\n%s\n%s\n%s\n%s\n%v", r.Ended(), failures(r.Stdout), tail(r.Stdout), tail(r.Stderr), r.Report, r.Unsupported)
			}
		})
	}
}

// tail is the last of an output.
func tail(s string) string { return s[max(0, len(s)-8000):] }
