"""PageRank: the ranks of all pages are two vectors in regions, and in each step the pages are
divided among calls, each of which reads the whole old vector and writes its part of the new
one: nothing is copied. Deploy it as NAME with --call NAME --share ranks:rw."""

import numpy
import seuss

DAMPING = 0.85


def vector(key, n, dtype):
    return numpy.frombuffer(seuss.region(key, n * numpy.dtype(dtype).itemsize), dtype=dtype)


def step(job, pages, links, begin, end, old, new):
    """Ranks the pages from begin to end. A link is two pages, from and to."""
    ranks, to = vector(f"{job}/{old}", pages, "f8"), vector(f"{job}/{new}", pages, "f8")
    source, target = vector(f"{job}/links", 2 * links, "i8").reshape(2, links)
    out = numpy.bincount(source, minlength=pages)
    dangling = ranks[out == 0].sum() / pages  # who links to nobody links to all
    here = (target >= begin) & (target < end)
    got = numpy.bincount(target[here] - begin, ranks[source[here]] / out[source[here]], end - begin)
    to[begin:end] = (1 - DAMPING) / pages + DAMPING * (got + dangling)
    return float(abs(to[begin:end] - ranks[begin:end]).sum())


def handler(event, context):
    if "step" in event:
        return step(**event["step"])
    pages, links, workers = event["pages"], event["links"], event.get("workers", 4)
    job = f"ranks/{context.aws_request_id}"
    vector(f"{job}/links", 2 * len(links), "i8")[:] = numpy.array(links).T.ravel()
    vector(f"{job}/0", pages, "f8")[:] = 1 / pages
    vector(f"{job}/1", pages, "f8")
    bounds = numpy.linspace(0, pages, workers + 1).astype(int).tolist()
    for n in range(event.get("steps", 100)):
        calls = [
            seuss.chain_call(context.function_name, {"step": {
                "job": job, "pages": pages, "links": len(links), "begin": begin, "end": end, "old": n % 2, "new": 1 - n % 2,
            }})
            for begin, end in zip(bounds, bounds[1:])
        ]
        if sum(seuss.await_all(calls)) < event.get("tolerance", 1e-9):
            break
    ranks = vector(f"{job}/{1 - n % 2}", pages, "f8").tolist()
    for name in "links", "0", "1":
        seuss.region(f"{job}/{name}").unlink()
    return {"steps": n + 1, "ranks": ranks}
