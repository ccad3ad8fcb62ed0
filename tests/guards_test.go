package tests

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/vmm/vmmtest"
)

// TestProtectedProgram: what a C program must not do ends it with a report, and
// what it may do works as it does natively. The static program is copied to its
// addresses, the dynamic one and the C library run where they lie in the image.
func TestProtectedProgram(t *testing.T) {
	t.Parallel()
	vmmtest.Require(t)
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped without gcc")
	}
	root := t.TempDir()
	for name, flags := range map[string][]string{"static": {"-static", "-no-pie"}, "dynamic": {"-pie"}} {
		args := append([]string{"-std=gnu11", "-O0", "-w", "-pthread", "-o", filepath.Join(root, name), "testdata/protect.c"}, flags...)
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	copyLibraries(t, root, "dynamic")
	im := programImage(t, root)
	const exhausted = "is exhausted"
	for what, report := range map[string]string{
		"null": "SIGSEGV", "text": "SIGSEGV", "library": "SIGSEGV", "constant": "SIGSEGV", "kernel": "SIGSEGV",
		"large": "SIGSEGV", "beside-opened": "SIGSEGV",
		"main-stack": "the stack of thread 1 " + exhausted, "thread": "the stack of thread 2 " + exhausted,
		"small-thread": "the stack of thread 2 " + exhausted, "guard": "lies in a guard", "reservation": "lies in a guard",
		"handler": "", "handler-guard": "", "allowed": "", "opened": "",
	} {
		for _, program := range []string{"/static", "/dynamic"} {
			t.Run(what+program, func(t *testing.T) {
				r := runProgram(t, im, program, what)
				if report == "" {
					native := exec.Command(filepath.Join(root, program), what)
					if native.Run(); native.ProcessState.ExitCode() != r.Status || r.Status < 3 || r.Signal != 0 {
						t.Errorf("exit status %d, natively %d\n%s%s", r.Status, native.ProcessState.ExitCode(), r.stdout, r.Report)
					}
				} else if r.Signal != 11 || !strings.Contains(r.Report, report) {
					t.Errorf("signal %d, exit status %d, want a report with %q:\n%s%s", r.Signal, r.Status, report, r.stdout, r.Report)
				}
			})
		}
	}
}

func copyTo(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, fs.FileMode(0o755))); err != nil {
		t.Fatal(err)
	}
}

// guarded has a guard of its own in its snapshot, and does what the event says.
const guarded = `
import ctypes, mmap, struct, sys, threading
libc = ctypes.CDLL(None)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
area = mmap.mmap(-1, 3 * 4096)
area.write(b"\0" * (3 * 4096))
at = ctypes.addressof(ctypes.c_char.from_buffer(area)) + 4096
def protect(where, prot): assert libc.mprotect(where, 4096, prot) == 0
protect(at, 0)
def address(f): return ctypes.cast(f, ctypes.c_void_p).value
def page(where): return where & -4096
def recurse(x): return max([x], key=recurse)
def overflow():
    sys.setrecursionlimit(1 << 30)
    recurse(0)
def in_thread(size):
    threading.stack_size(size)
    t = threading.Thread(target=overflow)
    t.start()
    t.join()
class Info(ctypes.Structure): _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("name", ctypes.c_char_p), ("at", ctypes.c_void_p)]
def relro():
    "What the loader made read-only again after it had written to it."
    info = Info()
    assert libc.dladdr(ctypes.c_void_p(address(libc.strtoull)), ctypes.byref(info))
    head = ctypes.string_at(info.base, 64)
    phoff, (size, n) = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<HH", head, 54)
    for i in range(n):
        kind, _, _, vaddr, _, _, bytes = struct.unpack_from("<IIQQQQQ", ctypes.string_at(info.base + phoff + size * i, 56))
        if kind == 0x6474e552: return page(info.base + vaddr + bytes) - 4096
def store(where): ctypes.memset(where, 0xcc, 1)
def handler(event, context):
    how = event["how"]
    if how == "main-stack": overflow()
    if how == "thread": in_thread(0)
    if how == "small-thread": in_thread(1 << 18)
    if how == "null": store(0x100)
    if how == "kernel": store(0x30100)
    if how == "library": store(address(libc.strtoull))
    if how == "program": store(address(ctypes.pythonapi.PyObject_Repr))
    if how == "guard": store(at)
    if how == "relro": store(relro())
    if how == "lift":
        protect(at, 3)
        store(at)
    if how == "patch":
        where = address(libc.strtoull)
        protect(page(where), 7)
        store(where)
    return ctypes.string_at(address(libc.strtoull), 1).hex()
`

// TestProtectedFunction: the same in functions, whose machines come from
// snapshots and are used again: a guard that an instance lifted, and text that it
// patched, are what they were for the next one.
func TestProtectedFunction(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	deploy(t, d, "guarded", guarded, nil)
	deploy(t, d, "other", jsonFunction, nil)
	run := func(how string) (string, error) {
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "guarded", Event: fmt.Appendf(nil, `{"how": %q}`, how), Timeout: patience(20 * time.Second)})
		if err != nil {
			return "", err
		}
		if r.Error != nil {
			return "", r.Error
		}
		return output[string](t, r), nil
	}
	first, err := run("nothing")
	if err != nil {
		t.Fatal(describe(err))
	}
	right := func(t *testing.T, after string) {
		t.Helper()
		if got, err := run("nothing"); err != nil || got != first {
			t.Errorf("after %s: %q, %v; want %q", after, got, err, first)
		}
	}
	const exhausted = "is exhausted"
	for _, c := range [][2]string{
		{"main-stack", "the stack of thread 1 " + exhausted}, {"thread", exhausted}, {"small-thread", exhausted}, {"null", "SIGSEGV"},
		{"kernel", "SIGSEGV"}, {"library", "SIGSEGV"}, {"program", "SIGSEGV"}, {"relro", "SIGSEGV"}, {"guard", "lies in a guard"},
	} {
		t.Run(c[0], func(t *testing.T) {
			_, err := run(c[0])
			if err == nil || !strings.Contains(err.Error(), "SIGSEGV") || !strings.Contains(err.Error(), c[1]) {
				t.Errorf("%v, want a crash with %q", err, c[1])
			}
			right(t, c[0])
		})
	}
	t.Run("again", func(t *testing.T) {
		for round := range 10 {
			for _, how := range []string{"lift", "patch"} {
				got, err := run(how)
				if err != nil {
					t.Fatalf("%s: %s", how, describe(err))
				}
				if how == "patch" && got != "cc" {
					t.Errorf("patched text reads %s", got)
				}
				right(t, how)
				if round%3 == 2 { // the machine has been at another node in between
					invoke(t, d, "other", `{"k": 1}`)
				}
				if _, err := run("guard"); err == nil {
					t.Fatalf("round %d, after %s: a store to the snapshot's guard went through", round, how)
				}
			}
		}
	})
}
