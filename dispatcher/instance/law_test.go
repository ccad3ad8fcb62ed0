package instance

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/instance/instancetest"
	"seuss/images"
	"seuss/lineage"
	"seuss/vmm/platform"
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

func TestMain(m *testing.M) { instancetest.Main(m) }

// lawBench is a store with snapshots of every kind and depth, without whoever decides
// which of them is wanted.
type lawBench struct {
	*testing.T
	host  *Host
	img   *Image
	known map[string]*Snapshot // by node
	nodes map[string]*Snapshot // by name
	order []string             // names of nodes
}

// silent is an Observer.
type silent struct{}

func (silent) Ran(_, _ uint64)       {}
func (silent) Captured()             {}
func (silent) Restored(Moved)        {}
func (silent) Prefetched(uint64)     {}
func (silent) Parked(time.Duration)  {}
func (silent) Resumed(time.Duration) {}

func newLawBench(t *testing.T, platform platform.Platform) *lawBench {
	t.Helper()
	dir := instancetest.StateDir(t)
	store, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &lawBench{T: t, known: map[string]*Snapshot{}, nodes: map[string]*Snapshot{}}
	b.host = &Host{
		Platform: platform, Store: store, Snapshots: b.snapshot, Observer: silent{}, Log: slog.New(slog.DiscardHandler),
		Background: func(func()) bool { return false }, Closing: func() bool { return false },
	}
	path, err := images.Store{Dir: filepath.Join(dir, "images")}.Find("python")
	if err != nil {
		t.Fatal(err)
	}
	img, root, err := b.host.OpenImage("python", path)
	if err != nil {
		t.Fatal(err)
	}
	b.img = img
	imported := func(modules ...string) Capture {
		return Capture{Kind: lineage.KindImport, Key: lineage.Key{Imports: modules}}
	}
	function := func(name string) Capture {
		return Capture{Kind: lineage.KindFunction, Key: lineage.Key{Function: name, Handler: "main.handler", CodeDigest: strings.Repeat("0", 64), Lazy: name == "c"}}
	}
	load := func(source string) func(Session) error {
		code, err := json.Marshal(map[string]any{"handler": "main.handler", "files": map[string][]byte{"main.py": []byte(source)}})
		if err != nil {
			t.Fatal(err)
		}
		return func(s Session) error {
			_, err := s.Load(code)
			return err
		}
	}
	source := strings.ReplaceAll(mutator, "SELECTOR", dataSelector(platform))
	b.nodes["image"] = b.must(b.snapshot(root.Info.ID))
	b.add("base", "image", Capture{Kind: lineage.KindBase}, nil)
	b.add("first import", "base", imported("decimal"), func(s Session) error { return s.Import("decimal") })
	b.add("import", "first import", imported("decimal", "sqlite3"), func(s Session) error { return s.Import("sqlite3") })
	b.add("function A", "base", function("a"), load(source))
	b.add("function B", "import", function("b"), load("import hashlib, json, re\nbig = [b'%d' % n for n in range(100000)]\n"+source))
	b.add("lazy function", "base", function("c"), load(source+"\nrun = handler\ndef handler(event, context):\n"+
		"    kept.append(list(range(event['rows'])))\n    return run(event, context)\n"))
	argument := Capture{Kind: lineage.KindArgument, Key: function("c").Key}
	argument.Key.Args, argument.Key.NextKey = []lineage.Binding{{Key: "rows", Digest: strings.Repeat("0", 64)}}, "how"
	b.add("argument", "lazy function", argument, func(s Session) error {
		reply, err := s.Call(WithoutEvent, invocationContext, nil)
		for err == nil && reply.Asks && reply.Want.Key != "how" {
			reply, err = s.Call(Argument, invocationContext, []byte("200000"))
		}
		if err == nil && !reply.Asks {
			err = errors.New("it did not ask")
		}
		return err
	})
	b.order = slices.DeleteFunc(b.order, func(name string) bool { return name == "first import" })
	return b
}

// load makes a function of source.
func (b *lawBench) load(name, source string) {
	b.Helper()
	code, err := json.Marshal(map[string]any{"handler": "main.handler", "files": map[string][]byte{"main.py": []byte(source)}})
	if err != nil {
		b.Fatal(err)
	}
	b.add(name, "base", Capture{Kind: lineage.KindFunction, Key: lineage.Key{Function: name, Handler: "main.handler", CodeDigest: strings.Repeat("0", 64)}}, func(s Session) error {
		_, err := s.Load(code)
		return err
	})
}

// invocationContext is a context as drivers take it, its length before it.
var invocationContext = func() []byte {
	document := []byte(`{"aws_request_id":"r","function_name":"f","function_version":"$LATEST","invoked_function_arn":"arn","memory_limit_in_mb":"72",` +
		`"log_group_name":"g","log_stream_name":"s","identity":null,"client_context":null,"deadline_ms":0}`)
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(document))), document...)
}()

func (b *lawBench) must(s *Snapshot, err error) *Snapshot {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// snapshot is the Host's cache.
func (b *lawBench) snapshot(id string) (*Snapshot, error) {
	if s := b.known[id]; s != nil {
		return s, nil
	}
	s, err := b.host.Load(id)
	b.known[id] = s
	return s, err
}

// add makes a snapshot below another, by what do has the driver do; one that an earlier
// test made is found again.
func (b *lawBench) add(name, parent string, c Capture, do func(Session) error) {
	b.Helper()
	b.order = append(b.order, name)
	above := b.nodes[parent]
	for _, n := range b.host.Store.Children(above.Node.Info.ID) {
		if n.Info.Kind == c.Kind && n.Info.Key.Function == c.Key.Function && slices.Equal(n.Info.Key.Imports, c.Key.Imports) {
			b.nodes[name] = b.must(b.snapshot(n.Info.ID))
			return
		}
	}
	var i *Instance
	vm, err := NewVM(b.host, b.img, above)
	if err == nil && above.State == nil {
		i, err = Boot(vm, 0, above)
	} else if err == nil {
		i, err = vm.Begin(above)
	}
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	defer i.Destroy()
	if do != nil {
		if err := do(i.Converse(context.Background(), time.Now().Add(bootTimeout))); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
	}
	b.nodes[name] = b.must(i.Capture(c))
}

// machine makes a VM of the test's own.
func (b *lawBench) machine(platform platform.Platform, logDirty bool) *VM {
	b.Helper()
	host := &Host{Platform: platform, Store: b.host.Store, Snapshots: b.snapshot, Observer: silent{}, Log: b.host.Log}
	vm := &VM{host: host, image: b.img, room: plenty{}}
	if err := vm.make(b.nodes["base"], logDirty); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := vm.Close(); err != nil {
			b.Error(err)
		}
	})
	return vm
}

func (b *lawBench) bring(vm *VM, name string) {
	b.Helper()
	if _, err := vm.Restore(b.nodes[name]); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
}

// invoke runs one instance on a VM that stands at a snapshot and leaves it as it then
// is.
func (b *lawBench) invoke(vm *VM, name, how string) error {
	b.Helper()
	if isGentle(how) {
		return b.invokeFor(vm, name, how, 20*time.Second)
	}
	return b.invokeFor(vm, name, how, roughTime)
}

// roughTime is how long a mutation that does not end by itself goes on.
const roughTime = 50 * time.Millisecond

func (b *lawBench) invokeFor(vm *VM, name, how string, timeout time.Duration) error {
	b.Helper()
	i, err := vm.Begin(b.nodes[name])
	if err != nil {
		b.Fatal(err)
	}
	defer i.End()
	session := i.Converse(context.Background(), time.Now().Add(timeout*time.Duration(*instancetest.Slow)))
	err = b.converse(session, b.nodes[name], how)
	var failed *HandlerError
	if isGentle(how) && err != nil && !(how == "raise" && errors.As(err, &failed)) {
		b.Fatalf("%s from %s: %v", how, name, err)
	}
	return err
}

// converse has the mutator run, from whatever snapshot.
func (b *lawBench) converse(s Session, from *Snapshot, how string) (err error) {
	event := map[string][]byte{"rows": []byte("200000"), "how": fmt.Appendf(nil, "%q", how), "image": fmt.Append(nil, b.img.MemoryBytes)}
	whole := fmt.Appendf(nil, `{"rows": %s, "how": %s, "image": %s}`, event["rows"], event["how"], event["image"])
	var reply Reply
	switch key := from.Node.Info.Key; from.Node.Info.Kind {
	case lineage.KindArgument:
		reply, err = s.Call(Argument, invocationContext, event[key.NextKey])
	case lineage.KindFunction:
		if key.Lazy {
			reply, err = s.Call(WithoutEvent, invocationContext, nil)
		} else {
			reply, err = s.Call(WithEvent, invocationContext, whole)
		}
	default:
		code, _ := json.Marshal(map[string]any{"handler": "main.handler", "files": map[string][]byte{
			"main.py": []byte(strings.ReplaceAll(mutator, "SELECTOR", dataSelector(b.host.Platform)))}})
		if _, err := s.Load(code); err != nil {
			return err
		}
		reply, err = s.Call(WithEvent, invocationContext, whole)
	}
	for err == nil && reply.Asks {
		how := Argument
		value, present := event[reply.Want.Key]
		if reply.Want.All {
			value = whole
		} else if !present {
			how = NoArgument
		}
		reply, err = s.Call(how, invocationContext, value)
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

// TestRestoreLaw: bring, run, bring again: memory and registers are the same,
// byte for byte, whatever ran, from each node often enough for every way of
// resetting (compare, cool, copy), and in random order between the nodes.
func TestRestoreLaw(t *testing.T) {
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	vm := b.machine(platform, false)
	records := b.records(vm)
	r := rand.New(rand.NewPCG(7, 11))
	// Under the race detector it is about what runs side by side, and a comparison of all
	// memory takes longest: some are made.
	order, switches, checks := b.order, 200, 1
	if testing.Short() {
		order, switches, checks = b.order[2:4], 30, 6
	}
	for _, name := range order {
		b.bring(vm, name)
		ways := append(append([]string{}, gentle...), rough...)
		r.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		if len(ways) < 2*learnResets {
			t.Fatalf("%d resets do not reach the one that only copies", len(ways))
		}
		for at, how := range ways {
			err := b.invoke(vm, name, how)
			if how == "objects" && checks == 1 && bytes.Equal(contents(vm.m.Memory()), records[name].memory) {
				t.Fatalf("%s: running changed nothing: the comparison is blind", name)
			}
			for more := 2; how == "registers" && !b.changedRegisters(vm, name); more *= 2 { // on a busy host it may not get there in time
				if more > 64 {
					t.Fatalf("%s: the registers were not changed: the comparison is blind", name)
				}
				b.bring(vm, name)
				err = b.invokeFor(vm, name, how, time.Duration(more)*roughTime)
			}
			b.bring(vm, name)
			if at%checks == 0 {
				b.check(vm, records[name], fmt.Sprintf("%s after %s (%v)", name, how, err))
			}
		}
	}
	at := "base"
	b.bring(vm, at)
	b.check(vm, records[at], "base after the last of those runs")
	for n := range switches {
		how := "nothing"
		switch k := r.IntN(10); {
		case k < 6:
			how = gentle[r.IntN(len(gentle))]
		case k < 8:
			how = rough[r.IntN(len(rough))]
		}
		if how != "nothing" {
			b.invoke(vm, at, how)
		}
		next := b.order[r.IntN(len(b.order))]
		b.bring(vm, next)
		if n%checks == 0 {
			b.check(vm, records[next], fmt.Sprintf("switch %d from %s after %s to %s", n, at, how, next))
		}
		at = next
	}
}
