package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/state/region"
	"seuss/lineage"
)

// regionCode is how a program opens a region: as a file that it maps.
const regionCode = `
import mmap, os, struct
def region(name, size=0, write=True):
    fd = os.open("/dev/seuss/region/" + name, os.O_RDWR | os.O_CREAT if write else os.O_RDONLY)
    try:
        if size: os.ftruncate(fd, size)
        return mmap.mmap(fd, size or os.fstat(fd).st_size, prot=mmap.PROT_READ | (mmap.PROT_WRITE if write else 0))
    finally:
        os.close(fd)
def errno(f, *args):
    try: f(*args)
    except OSError as e: return e.errno
    return 0
`

// live is an interpreter that lives on.
type live struct {
	t *testing.T
	*instances.Instance
	ctx context.Context
}

func newLive(ctx context.Context, t *testing.T, d *dispatcher.Dispatcher, s instances.Spec) live {
	t.Helper()
	info, err := d.Keeper.Create(ctx, functions.DefaultOwner, s)
	if err != nil {
		t.Fatal(err)
	}
	i, err := d.Keeper.Get(functions.DefaultOwner, info.Name)
	if err != nil {
		t.Fatal(err)
	}
	return live{t, i, ctx}
}

// is has it run code, whose last line is an expression.
func (l live) is(want, code string) {
	l.t.Helper()
	a, err := l.Do(l.ctx, &instances.Call{Code: &code})
	switch {
	case err != nil:
		l.t.Fatalf("%s: %s", code, describe(err))
	case a.Error != nil:
		l.t.Fatalf("%s: %v\n%v", code, a.Error, a.Logs)
	case want != "" && a.Repr != want:
		l.t.Errorf("%s: %s, want %s\n%v", code, a.Repr, want, a.Logs)
	}
}

// TestRegions: two instances share a region, whichever is parked meanwhile; a snapshot that
// was taken while one was mapped finds it at the same address, with the content of now, and
// has none of its pages; going back to it does not touch the region; where the region is
// gone nothing begins.
func TestRegions(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 1 }) // one machine for all of them
	ctx, cancel := context.WithTimeout(t.Context(), patience(2*time.Minute))
	defer cancel()
	a := newLive(ctx, t, d, instances.Spec{Image: dispatcher.DefaultImage()})
	b := newLive(ctx, t, d, instances.Spec{Image: dispatcher.DefaultImage()})
	for _, l := range []live{a, b} {
		l.is("", regionCode)
	}
	a.is("2", `errno(region, "weights", 0, False)`)
	a.is("16777216", "w = memoryview(region('weights', 16 << 20))\nlen(w)")
	b.is("16777216", "r = memoryview(region('weights', 0, False))\nlen(r)")
	a.is("", "w[5:10] = b'hello'\nw[(16 << 20) - 4:] = struct.pack('<I', 77)")
	b.is("(b'hello', 77)", "bytes(r[5:10]), struct.unpack('<I', r[-4:])[0]")
	b.is("True", "r.readonly")
	b.is("13", "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nerrno(lambda: mmap.mmap(os.open('/dev/seuss/region/weights', 0), 4096))")
	a.is("22", "errno(os.ftruncate, os.open('/dev/seuss/region/weights', 2), 4096)")
	a.is("22", "errno(os.truncate, '/dev/seuss/region/weights', 0)")
	a.is("22", "errno(region, 'weights', 4096)")
	a.is("(16777216, True)", "st = os.stat('/dev/seuss/region/weights')\nst.st_size, 'weights' in os.listdir('/dev/seuss/region')")
	a.is("(1, 1, 1)", "errno(os.mkdir, '/dev/seuss/region/x'), errno(os.link, '/dev/seuss/region/weights', '/dev/seuss/region/x'), errno(os.rename, '/dev/seuss/region/weights', '/dev/seuss/region/x')")
	a.is("True", "'rwxp' in [l for l in open('/proc/self/maps') if 'seuss/region/weights' in l][0]")
	a.is("5", "import socket\np, q = socket.socketpair()\np.send(w[5:10])\nq.recv_into(w[32:])") // system calls reach it
	b.is("b'hello'", "bytes(r[32:37])")
	a.is("28", "errno(region, 'vast', 1 << 40)")

	// Parts of a mapping.
	a.is("", `
import ctypes
libc, P = ctypes.CDLL(None, use_errno=True), 4096
for name in "munmap", "mprotect", "msync": getattr(libc, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * (name != "munmap")
m = region("parts", 16 * P)
at = ctypes.addressof(ctypes.c_char.from_buffer(m))
def parts(): return [l.split()[1] for l in open("/proc/self/maps") if "region/parts" in l]`)
	a.is("(0, ['rwxp', 'rwxp'])", "libc.munmap(at + 2 * P, 2 * P), parts()")
	a.is("(0, -1, ['r-xp', 'rwxp'])", "libc.mprotect(at, 2 * P, 1), libc.mprotect(at, P, 3), parts()")
	a.is("(0, -1, -1)", "libc.msync(at, 2 * P, 4), libc.msync(at, 3 * P, 4), libc.mprotect(at, 2 * P, 0)")
	a.is("(b'there', 0, ['rwxp', 'rwxp'])", "m[15 * P:15 * P + 5] = b'there'\nctypes.string_at(at + 15 * P, 5), libc.mprotect(at, 2 * P, 3), parts()")

	// The page that says so is in no snapshot.
	mark := bytes.Repeat([]byte("a region's page "), 256)
	a.is("", "w[4096:8192] = b\"a region's page \" * 256")
	node, err := a.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := d.Store().Snapshot(node)
	if err != nil {
		t.Fatal(err)
	}
	var page [lineage.PageSize]byte
	for n := range snapshot.View.Pages() {
		if err := snapshot.View.CopyPage(page[:], n); err != nil {
			t.Fatal(err)
		} else if bytes.Equal(page[:], mark) {
			t.Errorf("page %#x of the snapshot is the region's", n)
		}
	}
	if n := snapshot.Node.StoredBytes(); n > 16<<20 {
		t.Errorf("the snapshot takes %d bytes", n)
	}
	a.is("", "w[5:10] = b'later'\nx = 1")
	c := newLive(ctx, t, d, instances.Spec{Snapshot: node})
	c.is("(b'later', False)", "bytes(w[5:10]), 'x' in globals()")
	c.is("", "w[5:10] = b'third'")
	if err := a.Rollback(ctx, node); err != nil {
		t.Fatal(err)
	}
	a.is("(b'third', False)", "bytes(w[5:10]), 'x' in globals()")
	b.is("b'third'", "bytes(r[5:10])")

	// One that is removed stays with those that map it, and is gone for all others.
	b.is("", "os.unlink('/dev/seuss/region/weights')")
	a.is("", "w[5:10] = b'still'")
	b.is("(b'still', 2)", "bytes(r[5:10]), errno(region, 'weights', 0, False)")
	e := newLive(ctx, t, d, instances.Spec{Snapshot: node})
	code := "1"
	if _, err := e.Do(ctx, &instances.Call{Code: &code}); !errors.Is(err, region.ErrNotFound) && !strings.Contains(fmt.Sprint(err), `region "weights"`) {
		t.Errorf("an instance that has a region mapped which is gone: %v", err)
	}
	a.is("", "w.release()\nimport gc\ngc.collect()")
}

// TestRegionsOfFunctions: a region that is opened as a function's code loads is mapped in
// every invocation; who opens one is not pure; nothing of it is reached by who has not, on
// the same machine; functions that open too much are told so.
func TestRegionsOfFunctions(t *testing.T) {
	t.Parallel()
	limit := region.Limit{Bytes: 16 << 20, Regions: 100}
	shared := region.New(region.Options{Function: limit})
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize, o.Regions = 1, shared })
	t.Cleanup(shared.Close)
	deploy(t, d, "count", regionCode+`
counts = memoryview(region("counts", 4096)).cast("Q")
def handler(event, context):
    counts[0] += 1
    return [counts[0], open("/proc/self/maps").read().count("region/counts")]
`, nil)
	for n := 1; n <= 3; n++ {
		if got := output[[]int](t, invoke(t, d, "count", "{}")); got[0] != n || got[1] != 1 {
			t.Errorf("invocation %d: %v", n, got)
		}
	}
	sample, err := os.ReadFile("../images/runtimes/python/samples/weights.py")
	if err != nil {
		t.Fatal(err)
	}
	deploy(t, d, "weights", string(sample), nil)
	type summed struct {
		Sum  float64
		Used int
	}
	invoke(t, d, "weights", `{"add": {"0": 1.5, "1048575": 2}}`)
	deploy(t, d, "others", strings.Replace(string(sample), "def handler", "def unused", 1)+"\ndef handler(event, context): return unused({'add': {'7': -1}}, None)\n", nil)
	invoke(t, d, "others", "{}")
	if got := output[summed](t, invoke(t, d, "weights", "{}")); got != (summed{2.5, 3}) {
		t.Errorf("weights: %+v", got)
	}
	inShare := regionCode + `
def handler(event, context):
    return [errno(region, "orders%2Ftoday", 4096), errno(region, "orders%2Ftoday", 0, False)]
`
	for _, c := range []struct {
		name   string
		shares []string
		want   []int // making it, then reading it; EACCES is 13
	}{{"none", nil, []int{13, 13}}, {"writes", []string{"orders:rw"}, []int{0, 0}}, {"reads", []string{"orders:r", "models:rw"}, []int{13, 0}}} {
		deploy(t, d, c.name, inShare, func(s *dispatcher.FunctionSpec) { s.Settings.Shares = c.shares })
		if got := output[[]int](t, invoke(t, d, c.name, "{}")); !slices.Equal(got, c.want) {
			t.Errorf("a region in a share, of which the function %s: errors %v, want %v", c.name, got, c.want)
		}
	}
	deploy(t, d, "many", regionCode+`
def handler(event, context):
    made, why = [], 0
    try:
        for n in range(200): made.append(region(f"r{n}", 4096))
    except OSError as e: why = e.errno
    return [len(made), why, errno(region, "large", 16 << 20)]
`, nil)
	if got := output[[]int](t, invoke(t, d, "many", "{}")); got[0] != 100 || got[1] != 122 || got[2] != 28 {
		t.Errorf("a function with too many regions: %v", got)
	}
	deploy(t, d, "peek", `
import ctypes
def handler(event, context): return ctypes.string_at(event["at"], 8).hex()
`, nil)
	invoke(t, d, "count", "{}")
	for _, at := range []uint64{0x1c0000000000, 0x200000000, 0x204000000} { // where a guest sees it, and where KVM has it
		r := invoke(t, d, "peek", fmt.Sprintf(`{"at": %d}`, at))
		if r.Error == nil {
			t.Errorf("%#x can be read: %s", at, r.Output)
		}
	}
	if got := output[[]int](t, invoke(t, d, "count", "{}")); got[0] != 5 {
		t.Errorf("after that: %v", got)
	}
	if err := shared.Remove(functions.DefaultOwner, "counts"); err != nil {
		t.Fatal(err)
	}
	_, err = d.Invoke(t.Context(), dispatcher.Request{Function: "count", Event: []byte("{}")})
	if !errors.Is(err, region.ErrNotFound) || !strings.Contains(err.Error(), `region "counts"`) {
		t.Errorf("a function whose region is gone: %v", err)
	}
	if got := shared.Used(); got.Regions != 102 {
		t.Errorf("%+v are used", got)
	}
	deploy(t, d, "lazy", regionCode+`
def handler(event, context):
    n = event["n"]
    region("lazy", 4096)
    return n + event["m"]
`, func(s *dispatcher.FunctionSpec) { s.Lazy = true })
	if _, err := d.CaptureArgument(t.Context(), "lazy", dispatcher.Capture{Event: []byte(`{"n": 1}`)}); !errors.Is(err, dispatcher.ErrImpure) || !strings.Contains(err.Error(), "shared memory") {
		t.Errorf("an argument snapshot of what has opened a region: %v", err)
	}
}
