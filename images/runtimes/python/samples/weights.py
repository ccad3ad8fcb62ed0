"""Weights that all instances of a function on a host share, as a NumPy array and without a copy."""

import mmap
import os

import numpy

NAME, COUNT = "weights", 1 << 20


def region(name, size):
    """Memory that is shared under a name: the first who asks makes it, zeros."""
    fd = os.open("/dev/seuss/region/" + name, os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(fd, size)
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


# In the function's snapshot it is open: an invocation finds it mapped, with the content of now.
weights = numpy.frombuffer(region(NAME, 8 * COUNT), dtype=numpy.float64)


def handler(event, context):
    for index, by in event.get("add", {}).items():
        weights[int(index)] += by
    return {"sum": float(weights.sum()), "used": int(numpy.count_nonzero(weights))}
