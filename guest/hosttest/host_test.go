// Package hosttest compiles the kernel library's files as host programs and
// runs their unit tests under the address and undefined-behaviour sanitizers.
//
// It is a package of its own because the go command refuses C files beside Go
// files. Sources are read from ../kernel; nothing is written there.
package hosttest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const kernelDir = "../kernel"

// Flags of every host test object. Freestanding code must not lean on strict
// aliasing or on libc's fortified wrappers, so neither is in force here.
var cflags = []string{
	"-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-DSEUSS_HOST_TEST",
	"-fno-strict-aliasing", "-U_FORTIFY_SOURCE", "-fno-omit-frame-pointer",
	"-fsanitize=address,undefined", "-fno-sanitize-recover=all",
}

// objects compiles each source once, however many programs link it.
type objects struct {
	dir string
	mu  sync.Mutex
	m   map[string]string
}

func (o *objects) get(src string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if obj, ok := o.m[src]; ok {
		return obj, nil
	}
	sum := sha256.Sum256([]byte(src))
	obj := filepath.Join(o.dir, hex.EncodeToString(sum[:8])+".o")
	out, err := exec.Command("gcc", append(append([]string{}, cflags...), "-c", src, "-o", obj)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gcc -c %s: %w\n%s", src, err, out)
	}
	o.m[src] = obj
	return obj, nil
}

// linked returns the kernel files that a test's "// link:" lines name.
func linked(test string) ([]string, error) {
	f, err := os.Open(test)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var files []string
	seen := map[string]bool{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		rest, ok := strings.CutPrefix(sc.Text(), "// link:")
		if !ok {
			continue
		}
		for pattern := range strings.FieldsSeq(rest) {
			match, err := filepath.Glob(filepath.Join(filepath.Dir(test), pattern))
			if err != nil {
				return nil, fmt.Errorf("%s: link pattern %q: %w", test, pattern, err)
			}
			if len(match) == 0 {
				return nil, fmt.Errorf("%s: link pattern %q names no file", test, pattern)
			}
			for _, m := range match {
				if !seen[m] {
					seen[m] = true
					files = append(files, m)
				}
			}
		}
	}
	return files, nil
}

// build links a test program, with what it names, into dir.
func (o *objects) build(test, bin string) error {
	sources, err := linked(test)
	if err != nil {
		return err
	}
	sources = append(sources, test, filepath.Join(kernelDir, "tests", "host.c"))
	args := append(append([]string{}, cflags...), "-o", bin)
	for _, src := range sources {
		obj, err := o.get(src)
		if err != nil {
			return err
		}
		args = append(args, obj)
	}
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("link %s: %w\n%s", filepath.Base(bin), err, out)
	}
	return nil
}

// TestHost builds and runs every tests/*_test.c.
func TestHost(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("CI_KVM") == "1" {
			t.Fatal("gcc is missing: host tests of the kernel library cannot be built")
		}
		t.Skip("gcc is missing: host tests of the kernel library are skipped")
	}
	tests, err := filepath.Glob(filepath.Join(kernelDir, "tests", "*_test.c"))
	if err != nil {
		t.Fatal(err)
	}
	if len(tests) == 0 {
		t.Fatalf("no test programs in %s/tests", kernelDir)
	}
	dir := t.TempDir()
	objs := &objects{dir: dir, m: map[string]string{}}
	for _, test := range tests {
		name := strings.TrimSuffix(filepath.Base(test), "_test.c")
		t.Run(name, func(t *testing.T) {
			bin := filepath.Join(dir, name)
			if err := objs.build(test, bin); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(bin)
			cmd.Env = append(os.Environ(), "ASAN_OPTIONS=detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS=print_stacktrace=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
		})
	}
}
