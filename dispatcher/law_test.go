package dispatcher

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/guest"
	"seuss/images"
	"seuss/lineage"
	"seuss/vmm"
	"seuss/vmm/process"
	"seuss/vmm/vmmtest"
)

// mutator changes its instance in the way that the event says, from a few
// objects to most of memory, the parts that only the monitor and the kernel
// library should write included.
const mutator = `
import ctypes, mmap, os, threading, time
CODE = {
    # DS, ES, GS = a data segment; GS.base = 0x1000; YMM0 = ~0; MXCSR and the x87 control word
    # round up; fld1; NT, AC and ID set: what a program may change of itself.
    "registers": "b8SELECTOR0000008ed88ec08ee8 48c7c000100000f3480faed8 c5fd76c0 68805f00000fae142458 687f0f0000d92c2458 d9e8 9c48810c24004024009d c3",
    "fs": "b8SELECTOR0000008ee0c3",
    "stack": "4831e4ebfe",
}
kept = [{"n": n, "text": str(n)} for n in range(2000)]
def handler(event, context):
    how = event["how"]
    if how == "little": kept.append(event)
    if how == "objects":
        for k in kept[:2000]: k["n"] += 1
    if how == "files":
        for n in range(40): open("/tmp/f%d" % n, "w").write("x" * 5000)
    if how == "large": kept.append(bytearray(os.urandom(8)) * (34 << 17))
    if how == "freed": bytearray(b"y") * (20 << 20)
    if how == "thread": threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    if how == "guards":
        libc = ctypes.CDLL(None)
        for n in range(20):
            m = mmap.mmap(-1, 3 * 4096)
            at = ctypes.addressof(ctypes.c_char.from_buffer(m))
            libc.mprotect(ctypes.c_void_p(at + 4096), ctypes.c_size_t(4096), n % 2 and 3)
            kept.append((m, bytearray(70000)))
    if how == "far":
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        for n in range(5):
            at = libc.mmap(None, ctypes.c_size_t(10 << 30), 0, 0x4022, -1, ctypes.c_long(0))
            assert libc.mprotect(ctypes.c_void_p(at + (n << 30)), ctypes.c_size_t(300000 * (n + 1)), 3) == 0
            ctypes.memset(at + (n << 30), n + 1, 300000 * (n + 1))
            if n == 2: libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(10 << 30))
            else: kept.append(at)
    if how == "patch":
        libc, at = ctypes.CDLL(None), event["image"] + (1 << 20)
        libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(1 << 20), 7)
        ctypes.memset(at, 0xaa, 1 << 20)
    if how == "raise": raise ValueError(os.urandom(8))
    if how == "exit": os._exit(9)
    if how == "spin":
        while True: kept.append(len(kept))
    if how == "image": ctypes.memset(event["image"] + (1 << 20), 0xaa, 1 << 20)
    if how == "tables": ctypes.memset(0x14000, 0xaa, 0x8000)
    if how == "kernel": ctypes.memset(0x30000, 0xaa, 0x8000)
    if how == "control": ctypes.memset(0x12000, 0xaa, 0x2000)
    if how in CODE:
        m = mmap.mmap(-1, 4096, prot=7)
        m.write(bytes.fromhex(CODE[how]))
        ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
        while True: kept.append(1.5 ** len(kept) / 3)
    if how.startswith("plant"):
        kept.extend([how + str(n) for n in range(1000)])
        open("/tmp/planted", "w").write(how * 1000)
        os.environ["PLANTED"] = how
    if how == "simd":
        x = [float(n) ** 0.5 for n in range(1000)]
    return len(kept)
`

// gentle mutations end with an answer; rough ones may end in any way.
var (
	gentle = []string{"little", "objects", "files", "large", "freed", "thread", "guards", "far", "simd", "raise"}
	rough  = []string{"exit", "spin", "image", "patch", "tables", "kernel", "control", "registers", "fs", "stack"}
)

// imagesDir names an image store with such an image in it, for machines that have
// no Python to make it from (make test-nested).
var imagesDir = flag.String("images", "", "use the image store in this directory instead of making an image")

var slow = flag.Int("slow", 1, "multiply the time that functions are given by this, on machines where everything takes longer")

// lawState is a state directory with a small Python image, made once for the
// package's tests, which use it one after the other.
var lawState struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if lawState.dir != "" {
		os.RemoveAll(lawState.dir)
	}
	os.Exit(code)
}

func lawDir(t *testing.T) string {
	t.Helper()
	lawState.once.Do(func() { lawState.dir, lawState.err = makeLawDir(context.Background()) })
	if lawState.err != nil {
		t.Fatalf("prepare the state directory: %v", lawState.err)
	}
	return lawState.dir
}

func makeLawDir(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "seuss-law-")
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
	spec, err := images.Python(ctx, images.PythonOptions{
		Kernel: guest.Kernel(), Driver: guest.PythonDriver(), Main: "driver.py", MemoryBytes: 72 << 20, NoNumPy: true,
	})
	if err != nil {
		return dir, err
	}
	_, err = store.Add(ctx, spec, images.AddOptions{})
	return dir, err
}

// lawBench is a dispatcher with nodes of every kind and depth.
type lawBench struct {
	*testing.T
	platform vmm.Platform
	d        *Dispatcher
	img      *image
	nodes    map[string]*target
	order    []string // names of nodes
}

func newLawBench(t *testing.T, platform vmm.Platform) *lawBench {
	t.Helper()
	d, err := Open(Options{StateDir: lawDir(t), Platform: platform})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &lawBench{T: t, platform: platform, d: d, nodes: map[string]*target{}}
	ctx := context.Background()
	add := func(name string) func(n *lineage.Node, err error) {
		return func(n *lineage.Node, err error) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if b.nodes[name], err = d.catalog.target(n.Info.ID); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			b.order = append(b.order, name)
		}
	}
	spec := func(name, source string, lazy bool, imports ...string) FunctionSpec {
		return FunctionSpec{Name: name, Handler: "main.handler", Lazy: lazy, Imports: imports, Files: map[string][]byte{"main.py": []byte(source)}}
	}
	add("base")(d.Base(ctx, ""))
	add("import")(d.Import(ctx, "", []string{"decimal", "sqlite3"}))
	source := strings.ReplaceAll(mutator, "SELECTOR", dataSelector(platform))
	add("function A")(d.Deploy(ctx, spec("a", source, false)))
	add("function B")(d.Deploy(ctx, spec("b", "import hashlib, json, re\nbig = [b'%d' % n for n in range(100000)]\n"+source, false, "decimal", "sqlite3")))
	add("lazy function")(d.Deploy(ctx, spec("c", source+"\nrun = handler\ndef handler(event, context):\n"+
		"    kept.append(list(range(event['rows'])))\n    return run(event, context)\n", true)))
	add("argument")(d.CaptureArgument(ctx, "c", []byte(`{"rows": 200000}`), "how"))
	if b.img, err = d.catalog.image(DefaultImage); err != nil {
		t.Fatal(err)
	}
	return b
}

// functionOf is which function runs from a node.
var functionOf = map[string]string{"base": "a", "import": "b", "function A": "a", "function B": "b", "lazy function": "c", "argument": "c"}

// shell makes a machine of the test's own, as the pool does.
func (b *lawBench) shell(platform vmm.Platform, logDirty bool) *shell {
	b.Helper()
	s := &shell{image: b.img, counts: &counters{}}
	m, err := vmm.NewMachine(platform, vmm.Config{
		RAMBytes: b.img.config.MemoryBytes, ImageBytes: b.img.imageBytes, Console: s.logs.write, ConsoleLimit: maxLogBytes, LogDirty: logDirty,
	})
	if err != nil {
		b.Fatal(err)
	}
	s.m = m
	if err := s.prepare(b.nodes["base"].view); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func (b *lawBench) bring(s *shell, name string) {
	b.Helper()
	if _, err := s.bring(b.nodes[name]); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
}

// invoke runs one invocation in a shell that stands at a node and leaves the
// shell as it then is.
func (b *lawBench) invoke(s *shell, name, how string) error {
	b.Helper()
	f, err := b.d.catalog.function(functionOf[name])
	if err != nil {
		b.Fatal(err)
	}
	e, err := f.event(fmt.Appendf(nil, `{"rows": 200000, "how": %q, "image": %d}`, how, b.img.config.MemoryBytes))
	if err != nil {
		b.Fatal(err)
	}
	timeout := 20 * time.Second
	switch {
	case how == "registers": // must get as far as changing them, on a busy host too
		timeout = 400 * time.Millisecond
	case !isGentle(how):
		timeout = 50 * time.Millisecond
	}
	if err := s.becomeInstance(); err != nil {
		b.Fatal(err)
	}
	err = b.d.newInvocation(f, e, &Request{Timeout: timeout * time.Duration(*slow)}, time.Now()).run(&lease{shell: s}, b.nodes[name])
	var failed *FunctionError
	if isGentle(how) && err != nil && !(how == "raise" && errors.As(err, &failed)) {
		b.Fatalf("%s from %s: %v", how, name, err)
	}
	return err
}

func isGentle(how string) bool {
	for _, g := range gentle {
		if g == how {
			return true
		}
	}
	return strings.HasPrefix(how, "plant")
}

// record is all that an instance can see.
type record struct {
	memory []byte
	state  *vmm.State
}

func (b *lawBench) record(s *shell) *record {
	b.Helper()
	return &record{memory: contents(s.m.Memory()), state: b.state(s)}
}

func (b *lawBench) state(s *shell) *vmm.State {
	b.Helper()
	state, err := s.m.Capture()
	if err != nil {
		b.Fatal(err)
	}
	return state
}

// check compares a shell with a record: every byte of memory, the identity page
// included, which only the next request writes, and the whole machine state.
func (b *lawBench) check(s *shell, want *record, what string) {
	b.Helper()
	mem := contents(s.m.Memory())
	b.sameInProcess(s, mem, what)
	if !bytes.Equal(mem, want.memory) {
		pages := differing(mem, want.memory)
		b.Fatalf("%s: %d pages differ, the first is %#x", what, len(pages), pages[0])
	}
	if got := b.state(s); !got.Equal(want.state) {
		b.Fatalf("%s: the machine state differs:\n%+v\nwant\n%+v", what, got, want.state)
	}
}

// differing compares everything: it is the oracle for all that is cleverer.
func differing(a, b []byte) (pages []uint64) {
	for page := uint64(0); page < uint64(len(a))/lineage.PageSize; page++ {
		if !bytes.Equal(pageOf(a, page), pageOf(b, page)) {
			pages = append(pages, page)
		}
	}
	return pages
}

// records brings a fresh machine to every node; what it then holds must be what
// the node's view and state say.
func (b *lawBench) records(s *shell) map[string]*record {
	b.Helper()
	records := map[string]*record{}
	for _, name := range b.order {
		b.bring(s, name)
		t := b.nodes[name]
		r := b.record(s)
		for page := range t.view.Pages() {
			want := t.view.Bytes(page)
			if want == nil {
				want = zeroPage[:]
			}
			if !bytes.Equal(pageOf(r.memory, page), want) {
				b.Fatalf("%s: page %#x is not what the node holds", name, page)
			}
		}
		if !r.state.Equal(t.state) {
			b.Fatalf("%s: the machine state is not what the node holds:\n%+v\nwant\n%+v", name, r.state, t.state)
		}
		records[name] = r
	}
	return records
}

// dataSelector is a data segment that a guest's program can load, in hexadecimal:
// its own table's, or as a process that of Linux.
func dataSelector(p vmm.Platform) string {
	if p.Name() == "process" {
		return "2b"
	}
	return fmt.Sprintf("%02x", guest.SelData3)
}

// changedRegisters makes sure that the mutation which is about them works.
func (b *lawBench) changedRegisters(s *shell, name string) {
	b.Helper()
	var now vmm.CPUState
	if err := s.m.VM().VCPU().State(&now); err != nil {
		b.Fatal(err)
	}
	was := &b.nodes[name].state.CPU
	const mxcsr = 24 // in the XSAVE area, Intel SDM vol. 1, table 10-2
	b.Logf("%s: DS %#x to %#x, GS base %#x to %#x, MXCSR %x to %x, flags %#x to %#x", name, was.Special.DS.Selector, now.Special.DS.Selector,
		was.Special.GS.Base, now.Special.GS.Base, was.XSave[mxcsr:mxcsr+2], now.XSave[mxcsr:mxcsr+2], was.Regs.RFLAGS, now.Regs.RFLAGS)
	if bytes.Equal(was.XSave[mxcsr:mxcsr+2], now.XSave[mxcsr:mxcsr+2]) || b.platform.CPU().FSGSBASE && was.Special.GS.Base == now.Special.GS.Base {
		b.Errorf("%s: the registers were not changed: the comparison is blind", name)
	}
}

// contents copies all that the guest sees, without changing any of it.
func contents(m *vmm.Memory) []byte {
	out := make([]byte, 0, m.Pages()*guest.PageSize)
	for page := range m.Pages() {
		out = append(out, m.Page(page)...)
	}
	return out
}

// sameInProcess compares with what a guest that is a process really sees, where
// it has looked: looking for it would make pages of its own.
func (b *lawBench) sameInProcess(s *shell, mem []byte, what string) {
	b.Helper()
	vm, ok := s.m.VM().(*process.VM)
	if !ok {
		return
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", vm.PID()))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", vm.PID()))
	if err != nil {
		b.Fatal(err)
	}
	defer pagemap.Close()
	entries := make([]byte, len(mem)/guest.PageSize*8)
	if _, err := pagemap.ReadAt(entries, 0); err != nil {
		b.Fatal(err)
	}
	page := make([]byte, guest.PageSize)
	for at := int64(guest.LowGPA); at < int64(len(mem)); at += guest.PageSize {
		const present = 0x80 // bit 63, Documentation/admin-guide/mm/pagemap.rst
		if entries[at/guest.PageSize*8+7]&present == 0 {
			continue
		}
		if _, err := f.ReadAt(page, at); err != nil {
			b.Fatalf("%s: the process's memory at %#x: %v", what, at, err)
		}
		if !bytes.Equal(page, mem[at:at+guest.PageSize]) {
			b.Fatalf("%s: the guest's process sees another page at %#x than the monitor", what, at)
		}
	}
}

// TestRestoreLaw: bring, run, bring again: memory and registers are the same,
// byte for byte, whatever ran, from each node often enough for every way of
// resetting (compare, cool, copy), and in random order between the nodes.
func TestRestoreLaw(t *testing.T) {
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	s := b.shell(platform, false)
	records := b.records(s)
	r := rand.New(rand.NewPCG(7, 11))
	order, switches := b.order, 200
	if testing.Short() { // under the race detector
		order, switches = b.order[2:4], 30
	}
	for _, name := range order {
		b.bring(s, name)
		ways := append(append([]string{}, gentle...), rough...)
		r.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		if len(ways) < 2*learnResets {
			t.Fatalf("%d resets do not reach the one that only copies", len(ways))
		}
		for _, how := range ways {
			err := b.invoke(s, name, how)
			if how == "objects" && bytes.Equal(contents(s.m.Memory()), records[name].memory) {
				t.Fatalf("%s: running changed nothing: the comparison is blind", name)
			}
			if how == "registers" {
				b.changedRegisters(s, name)
			}
			b.bring(s, name)
			b.check(s, records[name], fmt.Sprintf("%s after %s (%v)", name, how, err))
		}
	}
	at := "base"
	b.bring(s, at)
	b.check(s, records[at], "base after the last of those runs")
	for n := range switches {
		how := "nothing"
		switch k := r.IntN(10); {
		case k < 6:
			how = gentle[r.IntN(len(gentle))]
		case k < 8:
			how = rough[r.IntN(len(rough))]
		}
		if how != "nothing" {
			b.invoke(s, at, how)
		}
		next := b.order[r.IntN(len(b.order))]
		b.bring(s, next)
		b.check(s, records[next], fmt.Sprintf("switch %d from %s after %s to %s", n, at, how, next))
		at = next
	}
}
