# Makes 2 MiB of free memory, the stretch i, show another stretch, j, by way of the
# guest's page tables; look says for how many pages it is so.
import ctypes
P = 4096
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
def u64(at, v=None):
    c = ctypes.c_uint64.from_address(at)
    if v is not None: c.value = v
    return c.value
tables, ram, used = u64(0x11000 + 56), u64(0x11000 + 32), u64(0x13000 + 16)
PML4, PDPT, PD = 0x16000, 0x17000, 0x1a000
def is_free(page): return not u64(used + page // 64 * 8) >> page % 64 & 1
def page_of_ours(n=1):
    at = libc.mmap(None, n * P, 3, 0x22, -1, 0)
    ctypes.memset(at, 0, n * P)
    return at
def copy_of(table):
    at = page_of_ours()
    ctypes.memmove(at, table, P)
    return at
def touch(i):
    for n in range(512):
        at = (i * 512 + n) * P
        ctypes.c_uint8.from_address(at).value = ctypes.c_uint8.from_address(at).value
def handler(event, context):
    how, i, j = event["how"], event["i"], event["j"]
    if how == "free":
        return [i for i in range(4, ram >> 21) if all(is_free(i * 512 + n) for n in range(512))]
    if how == "look":
        for n in range(512): ctypes.memset((j * 512 + n) * P, 0x11, P)
        same = 0
        for n in range(512):
            ctypes.memset((i * 512 + n) * P, 0x22, P)
            same += ctypes.string_at((j * 512 + n) * P, P) != b"\x11" * P
        return same
    if how.startswith("entries"): # of the table that there is
        for n in range(512): u64(tables + 8 * (i * 512 + n), (j * 512 + n) * P | 0x67)
        touch(i)
        if how == "entries, and back":
            for n in range(512): u64(tables + 8 * (i * 512 + n), (i * 512 + n) * P | 0x67)
    ours = page_of_ours()
    for n in range(512): u64(ours + 8 * n, (j * 512 + n) * P | 0x67)
    if how.startswith("table"): # another one
        was = u64(PD + 8 * i, ours | 0x27) and tables + i * P | 0x27
        touch(i)
        if how == "table, and back": u64(PD + 8 * i, was)
    if how == "table of the other": # a right one in the wrong place
        u64(PD + 8 * i, tables + j * P | 0x27)
        touch(i)
    if how == "large": # one entry for all of it
        u64(PD + 8 * i, j << 21 | 0xe7)
        touch(i)
    if how == "directory":
        directory = copy_of(PD)
        u64(directory + 8 * i, ours | 0x27)
        u64(PDPT, directory | 0x27)
        touch(i)
    if how == "root":
        directory, pointers = copy_of(PD), copy_of(PDPT)
        u64(directory + 8 * i, tables + j * P | 0x27)
        u64(pointers, directory | 0x27)
        u64(PML4, pointers | 0x27)
        touch(i)
    return 0
