package abi

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"seuss/images"
	"seuss/tests/boot"
	"seuss/vmm"
	"seuss/vmm/vmmtest"
)

var seeds = flag.Int("seeds", 3, "how many seeds of fuzzed arguments each program is run with")

const runTimeout = 30 * time.Second

// compile makes a static program of a C file.
func compile(t *testing.T, source string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c"))
	out, err := exec.Command("gcc", "-std=gnu11", "-O1", "-Wall", "-Wno-nonnull", "-static", "-pthread", "-o", bin, source, "-lrt").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc %s: %v\n%s", source, err, out)
	}
	return bin
}

// native runs a program on this machine.
func native(t *testing.T, bin string, args ...string) (stdout string, code int) {
	t.Helper()
	// Who runs the tests may ignore a signal (nohup, a service), which a program inherits.
	cmd := exec.Command("env", append([]string{"--default-signal", bin}, args...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// differences lists the first lines in which two outputs differ.
func differences(native, guest string) string {
	a, b := strings.Split(native, "\n"), strings.Split(guest, "\n")
	var out strings.Builder
	for i, n := 0, 0; i < max(len(a), len(b)) && n < 20; i++ {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			fmt.Fprintf(&out, "line %d\n  native %s\n  guest  %s\n", i+1, x, y)
			n++
		}
	}
	return out.String()
}

// TestSameAsLinux runs each program of testdata with some seeds natively and in
// a guest: standard output and exit status must be equal.
func TestSameAsLinux(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped without gcc")
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: the guest's program is root, and errors of another user differ")
	}
	sources, err := filepath.Glob("testdata/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no programs in testdata: %v", err)
	}
	platform := vmmtest.Require(t)
	t.Run("programs", func(t *testing.T) {
		for _, source := range sources {
			name := strings.TrimSuffix(filepath.Base(source), ".c")
			t.Run(name, func(t *testing.T) {
				bin := compile(t, source)
				img := boot.New(t, images.Spec{
					Name: name, Program: "/bin/program", MemoryBytes: 256 << 20,
					Files: []images.File{{GuestPath: "/bin/program", HostPath: bin}},
				})
				for seed := 1; seed <= *seeds; seed++ {
					want, code := native(t, bin, strconv.Itoa(seed))
					got, err := img.Run(platform, []string{"/bin/program", strconv.Itoa(seed)}, nil, runTimeout)
					if err != nil {
						t.Fatal(err)
					}
					if got.Kind != vmm.StopExit || int(got.Code) != code {
						t.Errorf("seed %d: %s, natively exit %d\n%s\n%s", seed, got.Ended(), code, got.Report, got.Stderr)
					}
					if want != got.Stdout {
						t.Errorf("seed %d:\n%s", seed, differences(want, got.Stdout))
					}
				}
			})
		}
	})
}
