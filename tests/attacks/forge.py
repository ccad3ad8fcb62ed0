# What a hostile function has at hand: the whole guest runs at one privilege level, so
# it can store anywhere that the monitor will look. Addresses and layouts are those of
# guest/abi/kernel.h. The source of an attack goes behind it.
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
