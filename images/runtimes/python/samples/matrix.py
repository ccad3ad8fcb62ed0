"""Solves a system of linear equations whose solution is known."""

import numpy


def handler(event, context):
    n = int(event["n"])
    if not 1 <= n <= 500:
        raise ValueError(f"n is {n}, want 1 to 500")
    # Diagonally dominant, so there is one solution and no pivoting surprise.
    a = numpy.fromfunction(lambda i, j: 1.0 / (1.0 + abs(i - j)), (n, n)) + n * numpy.eye(n)
    want = numpy.arange(1.0, n + 1.0)
    got = numpy.linalg.solve(a, a @ want)
    return {"n": n, "exact": bool(numpy.allclose(got, want)), "sum": round(float(got.sum()), 6)}
