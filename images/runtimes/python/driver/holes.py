"""Fills the holes that start-up leaves in the heaps: what a function allocates next
would go into them, a few bytes in each of a hundred pages. With the holes filled it lies
together in fresh memory: fewer pages to copy, for every function snapshot and for every
request. The pages that this fills are in the base anyway."""

import os
import sys

LARGEST = 64 << 10  # bytes of a chunk that is looked for
EACH = 48  # chunks of each smaller size: more than start-up leaves


def fill_objects():
    """Returns objects that fill the free blocks of the runtime's small-object
    allocator."""
    fd = os.open("/tmp/holes", os.O_RDWR | os.O_CREAT)
    stderr = os.dup(2)
    os.dup2(fd, 2)
    sys._debugmallocstats()
    os.dup2(stderr, 2)
    os.close(stderr)
    report = os.pread(fd, 1 << 16, 0).decode()
    os.close(fd)
    os.unlink("/tmp/holes")
    free = {}
    for line in report.splitlines():
        columns = line.split()
        # class, block size, pools, blocks in use, free blocks
        if len(columns) == 5 and all(c.isdigit() for c in columns):
            free[int(columns[1])] = int(columns[4])
    overhead = sys.getsizeof(b"")
    filler = []
    for size in sorted(free, reverse=True):
        if size > overhead:
            filler += [bytes(size - overhead) for _ in range(free[size])]
        elif size > 16:
            filler += [float(n) for n in range(free[size])]
        else:
            filler += [object() for _ in range(free[size])]
    return filler


def fill_chunks():
    """Returns objects that fill the free chunks of the C library's heap, where objects of
    more than 512 bytes lie; the text of environment variables, which it keeps of each value
    that a variable has had, fills the smaller ones."""
    overhead = sys.getsizeof(b"")
    ends = [bytes(LARGEST) for _ in range(8)]
    top = max(map(id, ends)) - len(ends) * LARGEST
    del ends
    filler = []
    for size in range(LARGEST, 512, -16):
        while id(block := bytes(size - overhead)) < top:
            filler.append(block)
    for size in range(0, 512, 16):
        for n in range(EACH):
            os.putenv("AWS_LAMBDA_FUNCTION", f"{n:03}" + "x" * size)
    os.unsetenv("AWS_LAMBDA_FUNCTION")
    # These texts are in a balanced tree, whose nodes change colour along the way to where
    # the next one goes. Those beside a function's have gone there now.
    for name, value in os.environ.items():
        if name.startswith(("AWS_", "_HANDLER")):
            os.putenv(name, value + "0")
            os.putenv(name, value)
    return filler
