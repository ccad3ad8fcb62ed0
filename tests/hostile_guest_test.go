package tests

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"seuss/dispatcher"
	"seuss/lineage"
)

// forge gives a Python function what the guest's kernel library has: the whole
// guest runs at one privilege level, so a hostile function can store anywhere
// that the monitor will look. Addresses and layouts are those of guest/abi/kernel.h.
const forge = `
import ctypes, gc, json, os, socket, struct, sys, threading, time
BELL, MMIO, CONTROL = 0x7fc0000000, 0x7fc0001000, 0x13000
IDLE, CONSOLE, EXIT, FAULT, PANIC = 0, 8, 0x10, 0x18, 0x20
MAX = 2**64 - 1
def code(*b):
    import mmap
    m = mmap.mmap(-1, 4096, prot=7)
    m.write(bytes(b))
    keep.append(m)
    return ctypes.addressof(ctypes.c_char.from_buffer(m))
keep = []
# ctypes loads before it stores, which a doorbell does not allow: mov %esi,(%rdi); ret and its other widths.
POKE = {kind: ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64)(code(*b)) for kind, b in
    ((ctypes.c_uint8, b"\x40\x88\x37\xc3"), (ctypes.c_uint16, b"\x66\x89\x37\xc3"), (ctypes.c_uint32, b"\x89\x37\xc3"), (ctypes.c_uint64, b"\x48\x89\x37\xc3"))}
def store(at, v, kind=ctypes.c_uint32): POKE[kind](at, v)
def load(at, kind=ctypes.c_uint32): return kind.from_address(at).value
def control(off, *v):
    at = CONTROL + 8 * off
    if v: store(at, v[0], ctypes.c_uint64)
    return load(at, ctypes.c_uint64)
KERNEL_END, UPCALL, USED, CLEAN, BITS, CONSOLE_GPA, FAULT_GPA, PANIC_GPA, ENOSYS_GPA, HEAD, TAIL, DEADLINE = range(12)
def ring(bell, v=1): store(BELL + bell, v)
def fill(at, n, byte): ctypes.memset(at, byte, n)
def buffer(b):
    keep.append(ctypes.create_string_buffer(b, len(b)))
    return ctypes.addressof(keep[-1])
def memory_end():
    _, _, _, _, _, _, _, image, size = struct.unpack("<QIIIIQQQQ", ctypes.string_at(0x11000, 56))
    return image + size
class Queue:  # struct vsock_queue of guest/kernel/vsock.h
    def __init__(self, at): self.desc, self.avail, self.used = at, at + 256, at + 296
    idx = property(lambda q: load(q.avail + 2, ctypes.c_uint16), lambda q, v: store(q.avail + 2, v & 0xffff, ctypes.c_uint16))
    def describe(self, slot, gpa, n, flags=0, next=0): ctypes.memmove(self.desc + 16 * slot, struct.pack("<QIHH", gpa, n, flags, next), 16)
    def offer(self, slot):
        store(self.avail + 4 + 2 * (self.idx % 16), slot, ctypes.c_uint16)
        self.idx += 1
def queues():
    "The rx and tx queues: sixteen descriptors of buffers 64 KiB apart."
    base, end = 0x30000, control(KERNEL_END)
    d = list(struct.iter_unpack("<QIHH", ctypes.string_at(base, (end - base) & ~15)))
    at = [i for i in range(len(d) - 16) if d[i][0] and d[i + 1][0] == d[i][0] + 0x10000 and all(d[i + k][0] == d[i][0] + k * 0x10000 for k in range(2, 16))]
    found = {bool(d[i][2]): Queue(base + 16 * i) for i in at}
    return found[True], found[False]
queues = (lambda found: lambda: found)(queues())  # before anything is forged
def notify(q=1): store(MMIO + 0x50, q)
def stream():
    "The driver's own socket, duplicated."
    for fd in range(3, 64):
        try:
            s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM, fileno=os.dup(fd))
            if s.getpeername()[1] == 1: return s
        except OSError: pass
def frame(kind, payload=b"", n=None): stream().sendall(struct.pack("<IB", len(payload) if n is None else n, kind) + payload)
def packet(op, src=None, dst=1, n=0, kind=1, cid=3, to=2, alloc=0x40000, forwarded=0, descriptor=None):
    "Queues a forged virtio-vsock packet and has the monitor look at it."
    _, tx = queues()
    src = stream().getsockname()[1] if src is None else src
    p = struct.pack("<QQIIIHHIII", cid, to, src, dst, n, kind, op, 0, alloc, forwarded)
    slot = tx.idx % 16
    tx.describe(slot, buffer(p), len(p)) if descriptor is None else tx.describe(slot, *descriptor(buffer(p), len(p)))
    tx.offer(slot)
    notify()
def stuck():
    while True: pass
def jump(at): ctypes.CFUNCTYPE(None)(at)()
`

// hostileAttacks maps a name to the body of a Python function (forge's names
// are in scope, then it returns "done"), and how such an invocation may end.
// Ways to end: error kinds as outcome names them, with what the message must
// contain behind a colon; alternatives are separated by |.
var hostileAttacks = map[string][2]string{
	// Doorbells.
	"exit":                  {`ring(EXIT, 42)`, "exit:exit status 42"},
	"fault-at-0":            {`control(FAULT_GPA, 0); ring(FAULT, 11)`, "crash:SIGSEGV (no report"},
	"fault-at-end":          {`control(FAULT_GPA, memory_end() - 8); ring(FAULT, 11)`, "crash:no report"},
	"fault-wraps":           {`control(FAULT_GPA, MAX - 7); ring(FAULT, 11)`, "crash:no report"},
	"fault-unknown-signal":  {`ring(FAULT, 0xffffffff)`, "crash:signal 4294967295"},
	"fault-rip-behind-end":  {`control(FAULT_GPA, buffer(b"\0" * 16 + struct.pack("<22Q", *[memory_end() + 10] * 22) + bytes(8))); ring(FAULT, 11)`, "crash:SIGSEGV"},
	"fault-rip-at-end":      {`control(FAULT_GPA, buffer(b"\0" * 16 + struct.pack("<22Q", *[memory_end() + 31] * 22) + bytes(8))); ring(FAULT, 11)`, "crash:SIGSEGV"},
	"fault-rip-wraps":       {`control(FAULT_GPA, buffer(b"\xff" * 256)); ring(FAULT, 11)`, "crash:SIGSEGV"},
	"panic-wild":            {`control(PANIC_GPA, MAX - 3); ring(PANIC)`, "crash:no text at"},
	"panic-escapes":         {`control(PANIC_GPA, buffer(b"\x1b[2J\x1b]0;owned\x07line\r\nline\0")); ring(PANIC)`, "crash:gave up"},
	"panic-endless":         {`control(PANIC_GPA, buffer(b"x" * 100000)); ring(PANIC)`, "crash:gave up"},
	"unknown-doorbell":      {`store(BELL + 0xffc, 7)`, "crash:doorbell 0xffc does not exist"},
	"narrow-doorbell":       {`store(BELL + EXIT, 7, ctypes.c_uint8)`, "crash:neither memory nor a device"},
	"wide-doorbell":         {`store(BELL + EXIT, 7, ctypes.c_uint64)`, "crash:neither memory nor a device"},
	"outside-device-window": {`store(BELL + 0x2000, 7)`, "crash:"},
	"load-doorbell":         {`load(BELL + EXIT)`, "crash:load of 4 bytes"},
	"idle":                  {`ring(IDLE)`, "timeout"},
	"idle-past-deadline":    {"while True:\n        control(DEADLINE, 1)\n        ring(IDLE)", "timeout"},
	"doorbell-flood":        {"while True: ring(CONSOLE)", "timeout"},
	"register-flood":        {"while True: load(MMIO)", "timeout"},
	// Console ring.
	"console-head":     {`control(HEAD, control(TAIL) + 2**40); ring(CONSOLE)`, "ok|timeout"},
	"console-back":     {`control(HEAD, control(TAIL) - 1); ring(CONSOLE)`, "ok|timeout"},
	"console-wild":     {`control(CONSOLE_GPA, MAX); print("x"); ring(CONSOLE)`, "ok|timeout|crash:"},
	"console-garbage":  {"fill(control(CONSOLE_GPA), 65536, 0xff)\n    control(HEAD, control(TAIL) + 65536); ring(CONSOLE)", "ok|timeout"},
	"console-empty":    {"fill(control(CONSOLE_GPA), 65536, 0)\n    for i in range(2000):\n        control(HEAD, control(TAIL) + 65536); ring(CONSOLE)", "ok|timeout"},
	"console-by-bytes": {"for i in range(400000): os.write(1, b'x')", "ok|timeout"},
	// Virtqueues and virtio-vsock packets.
	"tx-runaway":      {`q = queues()[1]; q.idx += 1000; notify()`, "crash:ahead of a queue"},
	"rx-runaway":      {`q = queues()[0]; q.idx += 1000; packet(5)`, "ok|crash:ahead of a queue"},
	"descriptor-wild": {`packet(5, descriptor=lambda at, n: (MAX - 8, 64))`, "crash:descriptor"},
	"descriptor-0":    {`packet(5, descriptor=lambda at, n: (0, 64))`, "crash:descriptor"},
	"descriptor-huge": {`packet(5, descriptor=lambda at, n: (at, 2**32 - 1))`, "crash:descriptor"},
	"descriptor-loop": {"tx = queues()[1]\n    slot = tx.idx % 16\n    tx.describe(slot, 0x400000, 8, 1, slot); tx.offer(slot); notify()", "crash:loops"},
	"descriptor-link": {`packet(5, descriptor=lambda at, n: (at, n, 1, 999))`, "crash:descriptor 999 of 16"},
	"chain-of-memory": {"tx = queues()[1]\n    for i in range(16): tx.describe(i, 0x10000, memory_end() - 0x10000, int(i < 15), i + 1)\n    tx.offer(0); notify()", "crash:has more than"},
	"indirect":        {`packet(5, descriptor=lambda at, n: (at, n, 4))`, "crash:indirect"},
	"head-outside":    {`q = queues()[1]; q.offer(4000); notify()`, "crash:descriptor 4000 of 16"},
	"packet-length":   {`packet(5, n=2**32 - 1)`, "ok|timeout|crash:"},
	"packet-short":    {`packet(5, descriptor=lambda at, n: (at, 3))`, "ok|timeout|crash:"},
	"packet-op":       {`packet(77)`, "ok|timeout|crash:|exit:"},
	"packet-type":     {`packet(5, kind=9)`, "ok|timeout|crash:"},
	"packet-cid":      {`packet(5, cid=1234567890123)`, "ok|timeout|crash:"},
	"packet-to":       {`packet(1, to=2**63, src=7)`, "ok|timeout|crash:"},
	"packet-reset":    {`packet(3)`, "timeout|crash:|died:|exit:"},
	"packet-shutdown": {`packet(4)`, "ok|timeout|crash:|died:"},
	"packet-credit":   {`packet(6, alloc=2**32 - 1, forwarded=2**31)`, "ok|timeout|crash:"},
	"packet-no-room":  {`packet(6, alloc=0)`, "ok|timeout"},
	"second-driver":   {`packet(1, src=99)`, "ok|timeout"},
	"requests":        {"for i in range(300): packet(1, src=10000 + i, dst=1 + i % 7)", "ok|timeout|crash:"},
	"device-reset":    {`store(MMIO + 0x70, 0)`, "timeout|crash:|died:"},
	"queue-gone":      {"store(MMIO + 0x30, 1)\n    store(MMIO + 0x44, 0)", "timeout|crash:"},
	"queue-moved":     {"for reg, v in ((0x30, 1), (0x44, 0), (0x38, 256), (0x80, 0xfffffff0), (0x84, 0xffffffff), (0x44, 1)): store(MMIO + reg, v)", "crash:"},
	"registers":       {"for reg in range(0, 0x1000, 4):\n        for v in (0xffffffff, 0): store(MMIO + reg, v)", "timeout|crash:|died:"},
	"used-index":      {`q = queues()[0]; store(q.used + 2, 0x8000, ctypes.c_uint16)`, "ok|timeout|crash:|died:|exit:"},
	"events-by-bytes": {"s = [socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) for _ in range(200)]\n    for x in s:\n        try: x.connect((2, 4242))\n        except OSError: pass", "ok"},
	// The driver's stream.
	"frame-want":         {`frame(20, b"\0key"); time.sleep(9)`, "died:malformed"},
	"frame-want-all":     {`frame(20, b"\1"); time.sleep(9)`, "died:malformed"},
	"frame-want-flags":   {`frame(20, b"\xff"); time.sleep(9)`, "died:malformed"},
	"frame-want-empty":   {`frame(20); time.sleep(9)`, "died:malformed"},
	"frame-ready":        {`frame(16, b"{}"); time.sleep(9)`, "died:malformed"},
	"frame-unknown":      {`frame(255); time.sleep(9)`, "died:malformed"},
	"frame-huge":         {`frame(18, b"", 2**32 - 1); time.sleep(9)`, "died:malformed|crash:malformed"},
	"frame-half":         {`frame(18, b"123", 1000); time.sleep(9)`, "timeout"},
	"frame-not-json":     {`frame(18, b"\xff not json"); time.sleep(9)`, "function:Runtime.MarshalError"},
	"frame-error":        {`frame(19, b"[[["); time.sleep(9)`, "function:Runtime.Unknown"},
	"want-flood":         {"s = stream()\n    while True: s.sendall(struct.pack('<IB', 1 << 20, 20) + b'\\0' + os.urandom(4).hex().encode() + b'k' * ((1 << 20) - 9)); s.recv(1 << 16)", "died:|timeout"},
	"stream-closed":      {`stream().shutdown(socket.SHUT_RDWR)`, "timeout|died:|exit:"},
	"stream-closed-hard": {"n = stream().fileno()\n    [os.close(fd) for fd in range(3, 64) if fd != n and os.path.exists('/proc/self/fd/%d' % fd)]\n    os.close(n)", "timeout|died:|exit:|function:"},
	"not-a-number":       {`return float("nan")`, "function:Runtime.MarshalError"},
	// Memory that the monitor or the kernel library relies on.
	"control-page":   {`fill(CONTROL, 4096, 0xff)`, "ok|timeout|crash:|died:|exit:"},
	"control-zero":   {`fill(CONTROL, 4096, 0)`, "ok|timeout|crash:|died:|exit:"},
	"kernel-end":     {"control(KERNEL_END, MAX); control(UPCALL, 0x400000)\n    stuck()", "timeout"},
	"upcall-entry":   {"control(UPCALL, MAX); threading.Thread(target=stuck).start()\n    stuck()", "timeout"},
	"bitmaps":        {"control(USED, MAX); control(CLEAN, MAX - 5); control(BITS, MAX)\n    bytearray(1 << 24)", "ok|timeout|crash:|function:"},
	"enosys":         {"control(ENOSYS_GPA, MAX - 9); ctypes.CDLL(None).syscall(499)", "ok|timeout|crash:"},
	"identity":       {`fill(0x2000, 4096, 0xff); os.urandom(8); time.time()`, "ok|timeout|crash:|exit:|function:"},
	"page-tables":    {`fill(0x6000, 0x4000, 0); jump(code(0xc3))`, "ok|timeout|crash:|exit:|died:"},
	"page-tables-ff": {`fill(0x6000, 0xc000, 0xff); fill(0x600000, 4096, 1)`, "ok|timeout|crash:|exit:|died:"},
	"remapped":       {"for pd in range(0xa000, 0x12000, 8): store(pd, 0x7fc0000000 | 0xe7, ctypes.c_uint64)\n    keep.append(bytearray(1 << 22))", "ok|timeout|crash:|exit:|died:|function:"},
	"descriptors":    {`fill(0x4000, 0x2000, 0); ctypes.string_at(0)`, "ok|timeout|crash:|exit:|died:"},
	"kernel-library": {`fill(0x20000, control(KERNEL_END) - 0x20000, 0xcc)`, "timeout|crash:|exit:|died:"},
	"kernel-zero":    {`fill(0x20000, control(KERNEL_END) - 0x20000, 0); stuck()`, "timeout|crash:"},
	"all-memory":     {`fill(0x1000, memory_end() - 0x1000, 0xf4)`, "timeout|crash:"},
	"root-image":     {`fill(memory_end() - (1 << 22), 1 << 22, 0xee)`, "ok|crash:"},
	// Where the processor goes.
	"jump-nowhere":   {`jump(0x41414141000)`, "crash:"},
	"jump-non-canon": {`jump(1 << 63)`, "crash:"},
	"jump-device":    {`jump(BELL)`, "crash:|timeout"},
	"jump-zero":      {`jump(0)`, "crash:"},
	"privileged":     {`jump(code(0x0f, 0x22, 0xd8, 0xf4, 0xc3))`, "crash:|timeout|died:|ok"},
	"halt":           {`jump(code(0xf4, 0xeb, 0xfd))`, "crash:|timeout"},
	"port":           {`jump(code(0xb0, 0xfe, 0xe6, 0x64, 0xc3))`, "crash:|timeout|ok"},
	"hypercall":      {`jump(code(0x0f, 0x01, 0xc1, 0x0f, 0x01, 0xd9, 0xc3))`, "crash:|timeout|ok"},
	"bad-stack":      {`jump(code(0x48, 0x31, 0xe4, 0x50, 0xc3))`, "crash:|timeout"},
	"bad-flags":      {`jump(code(0x6a, 0xff, 0x9d, 0xeb, 0xfe))`, "crash:|timeout"},
	"wild-syscalls":  {"n = ctypes.CDLL(None).syscall\n    for i in list(range(0, 60)) + list(range(61, 231)) + list(range(232, 400)):\n        if i not in (0, 15, 34, 35, 130): n(i, -1, -1, -1, -1, -1, -1)", "ok|timeout|crash:|exit:|function:|died:"},
	"syscall-flood":  {"while True: os.getppid()", "timeout"},
	"thread-flood":   {"try:\n        for i in range(100000): threading.Thread(target=stuck, daemon=True).start()\n    except RuntimeError: pass\n    stuck()", "timeout|crash:"},
	"memory-flood":   {"import mmap\n    try:\n        while True: keep.append(mmap.mmap(-1, 1 << 22)); fill(ctypes.addressof(ctypes.c_char.from_buffer(keep[-1])), 1 << 22, 1)\n    except OSError: return 'done'", "ok|timeout"},
}

// outcome names how an invocation ended, and with which words.
func outcome(r *dispatcher.Result, err error) (kind, text string) {
	var crash *dispatcher.CrashError
	switch {
	case err != nil:
		return "host", err.Error()
	case r.Error == nil:
		return "ok", string(r.Output)
	case errors.Is(r.Error, dispatcher.ErrTimeout):
		return "timeout", r.Error.Message
	case errors.As(r.Error, &crash):
		return "crash", r.Error.Message
	case errors.Is(r.Error, dispatcher.ErrGuestExit):
		return "exit", r.Error.Message
	case r.Error.Type == "Runtime.ExitError":
		return "died", r.Error.Message
	}
	return "function", r.Error.Type + " " + r.Error.Message
}

func allowed(ways, kind, text string) bool {
	return slices.ContainsFunc(strings.Split(ways, "|"), func(way string) bool {
		want, words, _ := strings.Cut(way, ":")
		return want == kind && strings.Contains(text, words)
	})
}

func attackSource() string {
	var b strings.Builder
	b.WriteString(forge)
	for _, name := range slices.Sorted(maps.Keys(hostileAttacks)) {
		fmt.Fprintf(&b, "def %s():\n    %s\n    return 'done'\n", strings.ReplaceAll("attack-"+name, "-", "_"), hostileAttacks[name][0])
	}
	b.WriteString("def handler(event, context):\n    return globals()['attack_' + event['attack'].replace('-', '_')]()\n")
	return b.String()
}

// TestHostileGuests: whatever a guest forges, its own invocation ends with one
// clear line, the next one is right, other instances run on undisturbed, and
// not a byte of a blob changes.
func TestHostileGuests(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 2 })
	deploy(t, d, "forge", attackSource(), nil)
	deploy(t, d, "sound", soundFunction, nil)
	want := checkSound(t, d)
	blobs := blobDigests(t, d)

	// A neighbour runs all the time beside the hostile instances.
	var over atomic.Bool
	var neighbours sync.WaitGroup
	neighbours.Go(func() {
		for n := 0; !over.Load(); n++ {
			r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "sound", Event: []byte("{}"), Timeout: 20 * time.Second})
			if kind, text := outcome(r, err); kind != "ok" || text != want {
				t.Errorf("the neighbour's invocation %d: %s %s", n, kind, text)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(hostileAttacks)) {
		t.Run(name, func(t *testing.T) {
			limit := patience(400 * time.Millisecond)
			start := time.Now()
			r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "forge", Event: []byte(`{"attack": "` + name + `"}`), Timeout: limit})
			took := time.Since(start)
			kind, text := outcome(r, err)
			t.Logf("%v: %s %s", took.Round(time.Millisecond), kind, text)
			if !allowed(hostileAttacks[name][1], kind, text) {
				t.Errorf("it ended with %s %q, want %s", kind, text, hostileAttacks[name][1])
			}
			checkOneLine(t, text)
			if r != nil {
				n := 0
				for _, l := range r.Logs {
					n += len(l.Text)
				}
				if n > 2<<20 {
					t.Errorf("%d bytes of logs", n)
				}
			}
			if got := checkSound(t, d); got != want {
				t.Errorf("the next invocation gave %s, want %s", got, want)
			}
		})
	}
	over.Store(true)
	neighbours.Wait()
	checkBlobs(t, d, blobs)
}

// soundFunction notices whether its memory, clock, generators or files are not
// those of a fresh instance.
const soundFunction = `
import hashlib, json, os, time, threading
calls = []
table = hashlib.sha256(b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(2000))).hexdigest()
def handler(event, context):
    calls.append(1)
    again = hashlib.sha256(b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(2000))).hexdigest()
    return [len(calls), table == again, len(set(os.urandom(8) for _ in range(8))), sorted(os.listdir("/tmp")), threading.active_count(),
            hashlib.sha256(json.__file__.encode() + open(json.__file__, "rb").read()).hexdigest(), abs(time.time() - context.deadline_ms / 1e3) < 30]
`

func checkSound(t testing.TB, d *dispatcher.Dispatcher) string {
	t.Helper()
	// The function compares its deadline with the clock: no patience here.
	r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "sound", Event: []byte("{}"), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatalf("invoke sound: %s", describe(err))
	}
	if got := string(output[jsonText](t, r)); !strings.HasPrefix(got, "[1, true, 8, [], 1, ") || !strings.HasSuffix(got, "true]") {
		t.Errorf("the instance of a sound function was not fresh: %s", got)
	}
	return string(r.Output)
}

// jsonText is JSON that is kept as it is.
type jsonText string

func (j *jsonText) UnmarshalJSON(b []byte) error { *j = jsonText(b); return nil }

// checkOneLine: an error is one printable line.
func checkOneLine(t testing.TB, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("the error is not one printable line: %q", text)
	}
}

func checkBlobs(t *testing.T, d *dispatcher.Dispatcher, before map[string][32]byte) {
	t.Helper()
	for path, digest := range blobDigests(t, d) {
		if old, known := before[path]; known && old != digest {
			t.Errorf("%s changed", path)
		}
	}
	for _, node := range d.Store().List() {
		if err := d.Store().Inspect().Verify(node.Info.ID); err != nil {
			t.Errorf("verify: %v", err)
		}
	}
}

// TestHostileQuestions: a function with lazy arguments that asks without end
// takes no more of the host than a bounded number of keys.
func TestHostileQuestions(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize, o.AutoArguments = 1, true })
	deploy(t, d, "sound", soundFunction, nil)
	want := checkSound(t, d)
	for name, key := range map[string]string{"large-keys": "b'k' * (1 << 20)", "many-keys": "b''"} {
		deploy(t, d, "asks", forge+"def handler(event, context):\n    s, n = stream(), 0\n    while True:\n        k = b'%d' % n + "+key+
			"\n        n += 1\n        s.sendall(struct.pack('<IB', len(k) + 1, 20) + bytes(1) + k)\n        s.recv(1 << 16)\n", lazy)
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "asks", Event: []byte("{}"), Timeout: patience(3 * time.Second)})
		kind, text := outcome(r, err)
		t.Logf("%s: %s %s", name, kind, text)
		if !allowed("died:it has asked for|timeout", kind, text) || name == "large-keys" && kind != "died" {
			t.Errorf("%s: it ended with %s %s", name, kind, text)
		}
		if got := checkSound(t, d); got != want {
			t.Errorf("the next invocation gave %s, want %s", got, want)
		}
	}
}

// TestHostileModules: code that forges while it is deployed, so that what it
// left is captured. Either the deployment fails with one line, or the function
// harms nobody but itself.
func TestHostileModules(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 2 })
	deploy(t, d, "sound", soundFunction, nil)
	want := checkSound(t, d)
	for _, c := range []struct{ name, module, handler string }{
		{"bitmaps-wild", "control(USED, MAX - 100); control(CLEAN, 0)", "return 1"},
		{"bitmaps-overlap", "control(USED, 0x400000); control(CLEAN, 0x400000)", "return 1"},
		{"bitmap-is-image", "control(CLEAN, memory_end() - 8192)", "return 1"},
		{"bitmap-count", "control(BITS, MAX)", "return 1"},
		{"nothing-used", "fill(control(USED), control(BITS) // 8, 0)", "return 1"},
		{"all-used-clean", "fill(control(USED), control(BITS) // 8, 0xff); fill(control(CLEAN), control(BITS) // 8, 0xff)", "return 1"},
		{"enosys-wraps", "real = control(ENOSYS_GPA); control(ENOSYS_GPA, MAX - 2047)", "control(ENOSYS_GPA, real); ctypes.CDLL(None).syscall(499); return 1"},
		{"enosys-last", "real = control(ENOSYS_GPA); control(ENOSYS_GPA, MAX - 3)", "control(ENOSYS_GPA, real); ctypes.CDLL(None).syscall(499); return 1"},
		{"forged-done", "frame(17, b'{}')", "return 1"},
		{"forged-result", "frame(18, b'1'); time.sleep(9)", "return 1"},
		{"exit", "ring(EXIT, 3)", "return 1"},
		{"panic", "ring(PANIC)", "return 1"},
		{"queue", "q = queues()[1]; q.idx += 1000; notify()", "return 1"},
		{"streams", "s = [socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) for _ in range(100)]\nfor x in s:\n    try: x.connect((2, 9))\n    except OSError: pass", "return 1"},
		{"console", "control(HEAD, control(TAIL) + 2**50)", "return 1"},
		{"spinning-thread", "threading.Thread(target=stuck, daemon=True).start()", "return 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience(2*time.Second))
			defer cancel()
			_, err := d.Deploy(ctx, dispatcher.FunctionSpec{Name: c.name, Handler: "main.handler", Files: map[string][]byte{
				"main.py": []byte(forge + c.module + "\ndef handler(event, context):\n    " + c.handler + "\n")}})
			if err == nil {
				for range 2 {
					r, err := d.Invoke(context.Background(), dispatcher.Request{Function: c.name, Event: []byte("{}"), Timeout: patience(300 * time.Millisecond)})
					kind, text := outcome(r, err)
					t.Logf("deployed, then: %s %s", kind, text)
					if kind == "host" {
						t.Errorf("its failure is taken for the host's: %s", text)
					}
					checkOneLine(t, text)
				}
			} else {
				t.Log(err)
				text, _, _ := strings.Cut(err.Error(), "\n")
				checkOneLine(t, text)
				if _, err := d.FunctionStore().Get(c.name); !errors.Is(err, lineage.ErrNotFound) {
					t.Errorf("the deployment failed and left the function: %v", err)
				}
			}
			if got := checkSound(t, d); got != want {
				t.Errorf("the next invocation gave %s, want %s", got, want)
			}
		})
	}
}
