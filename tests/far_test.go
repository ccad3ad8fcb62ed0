package tests

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/vmm/vmmtest"
)

// TestFarMemory: a C program that sets address space aside by the gigabyte, many
// times what its guest has of memory, sees the same in the guest as natively.
func TestFarMemory(t *testing.T) {
	t.Parallel()
	vmmtest.Require(t)
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped without gcc")
	}
	root := t.TempDir()
	program := filepath.Join(root, "far")
	if out, err := exec.Command("gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-static", "-pthread", "-o", program, "testdata/far.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	im := programImage(t, root)
	for _, feature := range strings.Fields(natively(t, program)) {
		t.Run(feature, func(t *testing.T) {
			r := runProgram(t, im, "/far", feature)
			if r.Status != 0 || r.Signal != 0 || r.Report != "" {
				t.Fatalf("exit status %d, signal %d\n%s%s%s", r.Status, r.Signal, r.stdout, r.stderr, r.Report)
			}
			if want := natively(t, program, feature); r.stdout != want {
				t.Errorf("in the guest: %s\nnatively: %s", r.stdout, want)
			}
		})
	}
}

// farFunction has, from LOAD on, parts of a reservation open, and does what the event
// says. coherent compares what the processor finds in the far window with what the
// list of mappings says should be there (struct abi_far).
const farFunction = `
import ctypes, struct
P, G = 4096, 1 << 30
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def aside(n, at=None): return libc.mmap(at, n, 0, 0x4022 | (0x10 if at else 0), -1, 0)
def protect(at, pages, prot): assert libc.mprotect(at, pages * P, prot) == 0, ctypes.get_errno()
def u64(at, v=None):
    c = ctypes.c_uint64.from_address(at)
    if v is not None: c.value = v
    return c.value
def fill(at, pages, mark):
    for n in range(pages): ctypes.memset(at + n * P, mark + n % 100, P)
def right(at, pages, mark):
    return all(ctypes.string_at(at + n * P, P) == bytes([mark + n % 100]) * P for n in range(pages))
def zero(at, pages): return ctypes.string_at(at, pages * P) == bytes(pages * P)
def coherent():
    at, count, _ = struct.unpack("<QII", ctypes.string_at(0x13000 + 184, 16))
    for first, ram, n, usable in struct.iter_unpack("<QQII", ctypes.string_at(at, 24 * count) if count else b""):
        for k in range(n if usable else 0):
            if ctypes.string_at((first + k) * P, P) != ctypes.string_at((ram + k) * P, P): return False
    return True
code = libc.mmap(None, P, 7, 0x22, -1, 0)
POKE = (ctypes.c_char * P).from_address(code)
POKE[:3] = b"\x89\x37\xc3"  # mov %esi,(%rdi); ret
X = aside(10 * G)
here = X + 2 * G
LOAD
def handler(event, context):
    how = event["how"]
    if how == "probe": ctypes.memset(X + event["at"], 1, 1)
    good = check()
    if how == "write": fill(*CHANGED)
    if how == "grow":
        protect(X + 2 * G, 400, 3)
        fill(X + 2 * G, 400, 90)
    if how == "elsewhere":
        for n in range(30):
            protect(X + 5 * G + n * 4 * P, 2, 3)
            fill(X + 5 * G + n * 4 * P, 2, 120 + n)
    if how == "close": protect(CHANGED[0], 1, 0)
    if how == "again":
        assert libc.munmap(X, 10 * G) == 0 and aside(10 * G) == X
        protect(X + 2 * G + 7 * P, 20, 3)
        if not zero(X + 2 * G + 7 * P, 20): return "not zero"
        fill(X + 2 * G + 7 * P, 20, 7)
    if how == "gone": assert libc.munmap(X, 10 * G) == 0
    if how == "briefly":
        protect(X + 7 * G, 50, 3)
        fill(X + 7 * G, 50, 50)
        assert aside(50 * P, X + 7 * G) == X + 7 * G
    if how == "hide": # far memory that the list does not name, when the monitor looks again
        was = ctypes.string_at(0x13000 + 184, 16)
        protect(X + 7 * G, 50, 3)
        fill(X + 7 * G, 50, 50)
        ctypes.memmove(0x13000 + 184, was if event.get("at") else bytes(16), 16)
        return "right" if good else "wrong"
    if how == "forge": # the pages of others, everywhere
        at = u64(0x13000 + 184) or libc.mmap(None, P, 3, 0x22, -1, 0)
        for n in range(4): ctypes.memmove(at + 24 * n, struct.pack("<QQII", (X >> 12) + (n * 2 << 18), 0x400 + n, 700, 1), 24)
        ctypes.memmove(0x13000 + 184, struct.pack("<QII", at, 4, 1), 16)
        ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64)(ctypes.addressof(POKE))(0x7fc0000048, 0)
        return "right" if ctypes.string_at(X, 700 * P) == ctypes.string_at(0x400 * P, 700 * P) else "not mapped"
    if how == "own":
        # Tables of one's own, an entry of the PML4 on: all of 512 GiB is one page.
        m = libc.mmap(None, 4 * P, 3, 0x22, -1, 0)
        for level in range(3):
            for n in range(512): u64(m + level * P + 8 * n, m + level * P + P | 0x67)
        ctypes.memset(m + 3 * P, 0x33, P)
        u64(0x16000 + (X >> 39) * 8, m | 0x67)
        for at in (2 * G, 2 * G + 7 * P, 2 * G + 16 * P, 2 * G + 399 * P, 5 * G, 5 * G + 3 * P, 5 * G + 4 * P, 7 * G):
            ctypes.c_uint8.from_address(X + at).value = 1
        return "right" if good else "wrong"
    if how == "heap": event["kept"] = [bytes([n % 256]) * 3000 for n in range(3000)]
    return "right" if good and coherent() else "wrong: %s %s" % (good, coherent())
`

// TestFarFunction: parts of reservations that are open in snapshots of functions. Each
// instance has what its node has, whatever the instance before it in the same machine
// did there, of the same function or of another; and no access to anything else.
func TestFarFunction(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	loads := map[string]string{
		"far-a":    "protect(here, 16, 3); fill(here, 16, 65)\ndef check(): return right(here, 16, 65)\nCHANGED = here, 16, 1",
		"far-b":    "protect(X + 5 * G, 3, 3); fill(X + 5 * G, 3, 66)\ndef check(): return right(X + 5 * G, 3, 66)\nCHANGED = X + 5 * G, 3, 1",
		"far-none": "def check(): return True\nCHANGED = X, 0, 0",
	}
	// Offsets that nothing is open at in the snapshots.
	closed := map[string][]uint64{
		"far-a": {2<<30 + 16<<12, 2<<30 - 1, 2<<30 + 399<<12, 5 << 30, 7 << 30}, "far-b": {2 << 30, 5<<30 + 3<<12, 5<<30 + 4<<12, 7 << 30},
		"far-none": {2 << 30, 2<<30 + 7<<12, 5 << 30, 7 << 30},
	}
	names := slices.Sorted(maps.Keys(loads))
	for name, load := range loads {
		deploy(t, d, name, strings.Replace(farFunction, "LOAD", load, 1), nil)
	}
	deploy(t, d, "other", jsonFunction, nil)
	run := func(name, how string, at uint64) (string, error) {
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: fmt.Appendf(nil, `{"how": %q, "at": %d}`, how, at), Timeout: patience(20 * time.Second)})
		if err != nil {
			return "", err
		}
		if r.Error != nil {
			return "", r.Error
		}
		return output[string](t, r), nil
	}
	hows := []string{"nothing", "write", "grow", "elsewhere", "close", "again", "gone", "briefly", "heap", "hide", "forge"}
	if vmmtest.Require(t).Name() != "process" { // where nobody reads a guest's tables
		hows = append(hows, "own")
	}
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 40 {
		var done []string
		for range 1 + random.IntN(10) {
			name, how := names[random.IntN(len(names))], hows[random.IntN(len(hows))]
			if random.IntN(2) == 0 && len(done) > 0 { // often the same again
				name, _, _ = strings.Cut(done[len(done)-1], " ")
			}
			done = append(done, name+" "+how)
			if got, err := run(name, how, 0); err != nil || got != "right" {
				t.Fatalf("round %d: %q, %v\nafter %q", round, got, err, done)
			}
			if random.IntN(8) == 0 {
				invoke(t, d, "other", `{"k": 1}`)
			}
		}
		name := names[random.IntN(len(names))]
		at := closed[name][random.IntN(len(closed[name]))]
		if got, err := run(name, "probe", at); err == nil || !strings.Contains(err.Error(), "SIGSEGV") {
			t.Errorf("round %d: %s stores at %#x, which is not open: %q, %v\nafter %q", round, name, at, got, err, done)
		}
	}
}
