package tests

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"seuss/dispatcher"
)

// impureFunction keeps whatever it can between calls: a fresh instance shows none.
const impureFunction = `
import os, threading
calls = 0
kept = []
def handler(event, context):
    global calls
    calls += 1
    kept.append(event["secret"])
    open("/tmp/left-behind", "a").write(event["secret"])
    os.environ["SECRET"] = os.environ.get("SECRET", "") + event["secret"]
    threading.Thread(target=lambda: kept.append("thread")).start()
    return [calls, len([k for k in kept if k != "thread"]), os.path.getsize("/tmp/left-behind"), len(os.environ["SECRET"])]
`

// TestEveryInvocationIsFresh runs an impure function 1,000 times on pooled
// shells, from several goroutines.
func TestEveryInvocationIsFresh(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 3 })
	deploy(t, d, "impure", impureFunction, nil)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := range 250 {
				secret := fmt.Sprintf("s%d-%03d", worker, n)
				r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "impure", Event: []byte(`{"secret": "` + secret + `"}`)})
				if err != nil {
					t.Error(describe(err))
					return
				}
				if want := fmt.Sprintf("[1, 1, %d, %d]", len(secret), len(secret)); string(r.Output) != want {
					t.Errorf("invocation %s: %s, want %s", secret, r.Output, want)
				}
			}
		})
	}
	wg.Wait()
}

// TestClonesAreDistinct: two clones of one node never give the same random
// bytes, from any generator that Python programs use.
func TestClonesAreDistinct(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "random", `
import os, random, uuid, ssl, secrets, tempfile, numpy
numpy.random.random()
tempfile.mkdtemp()
ssl.RAND_bytes(8)
uuid.uuid1(), uuid.getnode()
def handler(event, context):
    uuid1 = uuid.uuid1()
    return {"urandom": os.urandom(16).hex(), "random": random.random(), "choice": random.choices(range(100), k=8), "uuid4": str(uuid.uuid4()),
            "ssl": ssl.RAND_bytes(16).hex(), "secrets": secrets.token_hex(16), "numpy": float(numpy.random.random()),
            "device": open("/dev/urandom", "rb").read(16).hex(), "tempfile": tempfile.mktemp(),
            "uuid1 without its time": f"{uuid1.node:x} {uuid1.clock_seq:x}", "node": f"{uuid.getnode() ^ uuid1.node} {uuid1.node:x}", "hash": id(object()) * 0}
`, nil)
	seen := map[string]int{}
	const clones = 50
	for range clones {
		for generator, value := range output[map[string]any](t, invoke(t, d, "random", `{}`)) {
			if generator != "hash" {
				seen[fmt.Sprint(generator, "=", value)]++
			}
		}
	}
	for value, n := range seen {
		if n > 1 {
			t.Errorf("%d of %d clones gave %s", n, clones, value)
		}
	}
	if len(seen) != 11*clones {
		t.Errorf("%d distinct values, want %d", len(seen), 11*clones)
	}
}

// TestClonesShare shows what the security notes say that clones have in common,
// because it was drawn before their snapshot and is in use: the stack canary and
// the pointer guard, where memory lies, Python's hash seed, and the session ticket
// keys of a TLS context that was made at import. One made in the handler has its own.
func TestClonesShare(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "share", `
import ctypes, ssl
libc, libssl = ctypes.CDLL(None), ctypes.CDLL("libssl.so.3")
libc.getauxval.restype = ctypes.c_void_p
at_import = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
def ticket_keys(context):
    GET_TLSEXT_TICKET_KEYS, keys = 58, ctypes.create_string_buffer(80)
    SSL_CTX = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    assert libssl.SSL_CTX_ctrl(SSL_CTX, GET_TLSEXT_TICKET_KEYS, 80, keys)
    return keys.raw.hex()
def handler(event, context):
    AT_RANDOM = 25
    return {"canary": ctypes.string_at(libc.getauxval(AT_RANDOM), 16).hex(), "address": ctypes.cast(libc.getauxval, ctypes.c_void_p).value,
            "hash": hash("text"), "ticket keys": ticket_keys(at_import), "own": ticket_keys(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))}
`, nil)
	first, second := output[map[string]any](t, invoke(t, d, "share", `{}`)), output[map[string]any](t, invoke(t, d, "share", `{}`))
	for what, value := range first {
		if shared := value == second[what]; shared == (what == "own") {
			t.Errorf("%s: %v and %v", what, value, second[what])
		}
	}
}

// TestImportsDrawApart: what two functions draw while their modules are imported
// differs, although both start from one base snapshot with the import of random.
func TestImportsDrawApart(t *testing.T) {
	d := open(t, nil)
	seen := map[string]bool{}
	for _, name := range []string{"draws1", "draws2", "draws3"} {
		source := "import random, uuid\n# " + name + "\ndrawn = [random.random(), str(uuid.uuid4())]\ndef handler(e, c):\n    return drawn\n"
		deploy(t, d, name, source, func(s *dispatcher.FunctionSpec) { s.Imports = []string{"random"} })
		for _, value := range output[[]any](t, invoke(t, d, name, `{}`)) {
			if seen[fmt.Sprint(value)] {
				t.Errorf("%s: %v was drawn before", name, value)
			}
			seen[fmt.Sprint(value)] = true
		}
	}
}

// TestWallClock: a clone knows what time it is, however old its snapshot, and
// its monotonic clock goes forward.
func TestWallClock(t *testing.T) {
	d := open(t, nil)
	start := time.Now()
	deploy(t, d, "clock", "import time\nloaded = time.time()\nm = time.monotonic()\ndef handler(e, c):\n    return [time.time(), time.monotonic() - m, c.get_remaining_time_in_millis()]\n", nil)
	deployed := time.Since(start)
	time.Sleep(max(1100*time.Millisecond, deployed))
	before := time.Now()
	got := output[[]float64](t, invoke(t, d, "clock", `{}`))
	after := time.Now()
	if at := time.Unix(0, int64(got[0]*1e9)); at.Before(before.Add(-5*time.Millisecond)) || at.After(after.Add(5*time.Millisecond)) {
		t.Errorf("the clone says it is %v, it ran between %v and %v", at, before, after)
	}
	took := after.Sub(before)
	if most := deployed + took; got[1] < 0 || got[1] > most.Seconds() {
		t.Errorf("%v s of monotonic time since the function was loaded, %v with its deployment: the time in storage must not count", got[1], most)
	}
	if limit := float64(patience(20 * time.Second).Milliseconds()); got[2] < limit-float64(took.Milliseconds())-1 || got[2] > limit {
		t.Errorf("%v ms remain of %v after %v", got[2], limit, took)
	}
}

// TestNoTraceOfOthers plants a secret and looks for it in the whole memory of
// the next instance, of the same function and of another.
func TestNoTraceOfOthers(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	deploy(t, d, "plant", "def handler(e, c):\n    x = [e['secret'] + str(i) for i in range(1000)]\n    open('/tmp/s', 'w').write(''.join(x))\n    return len(x)\n", nil)
	// The pattern is split, so that the scanner does not find itself.
	scanner := `
import ctypes
def handler(event, context):
    needle = (event["a"] + event["b"]).encode()
    found = 0
    own = ctypes.addressof(ctypes.create_string_buffer(needle))
    for line in open("/proc/self/maps"):
        if line.split()[1][0] != "r": continue
        lo, hi = (int(x, 16) for x in line.split()[0].split("-"))
        at = lo
        while at < hi:
            n = min(1 << 20, hi - at)
            found += ctypes.string_at(at, n).count(needle)
            at += n
    return found
`
	deploy(t, d, "scan", scanner, nil)
	for range 3 {
		invoke(t, d, "plant", `{"secret": "XYZZY-PLUGH"}`)
		// The needle itself and copies of it in buffers are the scan's own; a
		// thousand planted ones would stand out.
		if n := output[int](t, invoke(t, d, "scan", `{"a": "XYZZY-", "b": "PLUGH"}`)); n > 50 {
			t.Errorf("%d traces of another function's secret", n)
		}
	}
	deploy(t, d, "both", scanner+"\ndef plant(e):\n    global kept\n    kept = [e + str(i) for i in range(1000)]\nscan = handler\ndef handler(e, c):\n    if 'plant' in e: plant(e['plant'])\n    return scan(e, c)\n", nil)
	if n := output[int](t, invoke(t, d, "both", `{"plant": "XYZZY-PLUGH", "a": "XYZZY-", "b": "PLUGH"}`)); n < 1000 {
		t.Fatalf("the scan found %d of 1000 planted secrets: it is blind", n)
	}
	if n := output[int](t, invoke(t, d, "both", `{"a": "XYZZY-", "b": "PLUGH"}`)); n > 50 {
		t.Errorf("%d traces of the previous invocation's secret", n)
	}
}

// TestFreedMemoryGoesBack: what a function has freed is not its machine's any
// more, whether by munmap or by madvise.
func TestFreedMemoryGoesBack(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "freed", `
import mmap
def handler(event, context):
    size = event["mib"] << 20
    for _ in range(3):
        x = bytearray(b"y") * size
        assert x[-1] == ord("y")
        del x
    m = mmap.mmap(-1, max(size, 4096))
    for at in range(0, size, 4096):
        m[at] = 1
    if event["advise"]:
        m.madvise(mmap.MADV_DONTNEED)
        assert not any(m[at] for at in range(0, size, 1 << 20))
        m[0] = 1
        context.kept = m
    return size
`, nil)
	dirtied := func(name, event string) uint64 {
		t.Helper()
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: []byte(event), Memory: true})
		if err != nil {
			t.Fatalf("invoke %s: %s", name, describe(err))
		}
		return r.PagesDirtied
	}
	little := dirtied("freed", `{"mib": 0, "advise": false}`)
	for _, advise := range []string{"false", "true"} {
		got := dirtied("freed", `{"mib": 100, "advise": `+advise+`}`)
		// Up to 16 MiB may wait for more to come.
		if limit := little + 16<<20/4096; got > limit {
			t.Errorf("madvise %s: %d pages are private after 300 MiB were freed, %d where nothing was", advise, got, little)
		}
	}
	// What a snapshot holds costs nothing to free.
	deploy(t, d, "frees", "kept = bytearray(b'y') * (32 << 20)\ndef handler(event, context):\n    kept.clear()\n    return len(bytearray(40 << 20))\n", nil)
	r := invoke(t, d, "frees", "{}")
	if got := output[int](t, r); got != 40<<20 {
		t.Errorf("%d bytes", got)
	}
	deploy(t, d, "only-frees", "kept = bytearray(b'y') * (32 << 20)\ndef handler(event, context):\n    kept.clear()\n", nil)
	// The machine that made the snapshot has its pages until it has been reset to it
	// seven times, and so may others that were taken for it meanwhile.
	limit := little + 2000
	got := limit + 1
	for n := 0; n < 8*dispatcher.DefaultPoolSize && got > limit; n++ {
		got = dirtied("only-frees", "{}")
	}
	if got > limit {
		t.Errorf("%d pages are private after 32 MiB of the snapshot were freed, %d where nothing was", got, little)
	}
}

// TestManyInvocations: blobs unchanged, nothing grows. SEUSS_SOAK gives another
// number of invocations (make test-soak).
func TestManyInvocations(t *testing.T) {
	n := 10_000
	if s := os.Getenv("SEUSS_SOAK"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n <= 0 {
			t.Fatalf("SEUSS_SOAK=%s: must be a number of invocations", s)
		}
	}
	if testing.Short() {
		n = 1000
	}
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 2 })
	deploy(t, d, "impure", impureFunction, nil)
	run := func(n int) {
		for k := range n {
			r := invoke(t, d, "impure", fmt.Sprintf(`{"secret": "%05d"}`, k))
			if string(r.Output) != "[1, 1, 5, 5]" {
				t.Fatalf("invocation %d: %s %v", k, r.Output, r.Error)
			}
		}
	}
	run(max(200, n/10)) // heap and buffers grow to their size
	idle(t, d)
	before, files := footprint(t), blobDigests(t, d)
	run(n)
	idle(t, d)
	after := footprint(t)
	if after.fds > before.fds {
		t.Errorf("%d file descriptors before, %d after %d invocations", before.fds, after.fds, n)
	}
	if after.children > before.children {
		t.Errorf("%d child processes before, %d after", before.children, after.children)
	}
	if after.guest > before.guest+16<<20 {
		t.Errorf("%d KiB of shared memory files before, %d after", before.guest>>10, after.guest>>10)
	}
	if after.maps > before.maps+16 {
		t.Errorf("%d mappings before, %d after", before.maps, after.maps)
	}
	if after.rss > before.rss+16<<20 {
		t.Errorf("%d KiB private before, %d after", before.rss>>10, after.rss>>10)
	}
	for path, digest := range blobDigests(t, d) {
		if files[path] != digest {
			t.Errorf("%s changed", path)
		}
	}
	for _, node := range d.Store().List() {
		if err := d.Store().Inspect().Verify(node.Info.ID); err != nil {
			t.Errorf("verify: %v", err)
		}
	}
}

// idle waits until every machine is free and stands ready: an answer leaves before its
// machine is reset.
func idle(t *testing.T, d *dispatcher.Dispatcher) {
	t.Helper()
	for end := time.Now().Add(patience(time.Minute)); slices.ContainsFunc(d.Pools(), busy); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("machines are not reset: %+v", d.Pools())
		}
	}
}

func busy(p dispatcher.PoolStats) bool { return p.Free < p.Machines || p.Ready < p.Free }

type usage struct {
	fds, maps, children int
	rss                 int64
	guest               int64 // bytes in memory files: guests that are processes
}

func footprint(t *testing.T) usage {
	t.Helper()
	runtime.GC()
	var u usage
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	// Pages of blobs are shared and the page cache's; what an instance costs is
	// resident - shared.
	var size, resident, shared int64
	fmt.Sscan(string(statm), &size, &resident, &shared)
	for _, fd := range fds {
		path := "/proc/self/fd/" + fd.Name()
		if name, err := os.Readlink(path); err == nil && strings.HasPrefix(name, "/memfd:seuss-memory") {
			var st syscall.Stat_t
			if err := syscall.Stat(path, &st); err != nil {
				t.Fatal(err)
			}
			u.guest += st.Blocks * 512
		}
	}
	u.children = len(children(t))
	u.fds, u.maps, u.rss = len(fds), strings.Count(string(maps), "\n"), (resident-shared)*4096
	t.Logf("%d fds, %d mappings, %d KiB resident, %d KiB of them shared, %d children, %d KiB in memory files",
		u.fds, u.maps, resident*4, shared*4, u.children, u.guest>>10)
	return u
}

// children returns the process ids of this process's children.
func children(t *testing.T) []int { return childrenOf(t, os.Getpid()) }

func childrenOf(t *testing.T, parent int) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tasks {
		list, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		for _, word := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func fileDigest(t *testing.T, path string) (digest [32]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

func blobDigests(t *testing.T, d *dispatcher.Dispatcher) map[string][32]byte {
	t.Helper()
	digests := map[string][32]byte{}
	for _, pattern := range []string{"nodes/*.node", "images/*.img"} {
		paths, err := filepath.Glob(filepath.Join(d.Store().Dir(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			digests[path] = fileDigest(t, path)
		}
	}
	if len(digests) < 3 {
		t.Fatalf("only %d blobs found", len(digests))
	}
	return digests
}
