"""What sgd.py does, with Redis in place of regions: each worker fetches its rows, and looks at
the weights and writes them back every BATCH rows. It tells how many bytes were moved, too."""

import socket

import numpy
import seuss
from redis_bench import Redis
from sgd import PER_ROW

BATCH = 100


def connect(port):
    return Redis(socket.AF_VSOCK, (2, port))


def fetch(redis, name, kind, begin, end):
    return numpy.frombuffer(redis(b"GETRANGE", name, b"%d" % (8 * begin), b"%d" % (8 * end - 1)), kind)


def work(port, features, begin, end, rate, seed):
    redis = connect(port)
    columns = fetch(redis, b"columns", "i8", begin * PER_ROW, end * PER_ROW).reshape(-1, PER_ROW)
    values = fetch(redis, b"values", "f8", begin * PER_ROW, end * PER_ROW).reshape(-1, PER_ROW)
    wanted = fetch(redis, b"wanted", "f8", begin, end)
    order = numpy.random.default_rng(seed).permutation(end - begin)
    for at in range(0, len(order), BATCH):
        w = fetch(redis, b"weights", "f8", 0, features).copy()
        for row in order[at:at + BATCH]:
            at_w, x = columns[row], values[row]
            numpy.add.at(w, at_w, rate * (wanted[row] - x @ w[at_w]) * x)
        redis(b"SET", b"weights", w.tobytes())
    return redis.moved


def handler(event, context):
    if "work" in event:
        return work(**event["work"])
    rows, features, workers, port = event["rows"], event["features"], event["workers"], event["port"]
    redis, random = connect(port), numpy.random.default_rng(1)
    columns = random.integers(0, features, (rows, PER_ROW))
    values = random.normal(size=columns.shape)
    wanted = (values * random.normal(size=features)[columns]).sum(axis=1)
    for name, array in (b"columns", columns), (b"values", values), (b"wanted", wanted), (b"weights", numpy.zeros(features)):
        redis(b"SET", name, array.tobytes())
    loss = lambda: float((((values * fetch(redis, b"weights", "f8", 0, features)[columns]).sum(axis=1) - wanted) ** 2).mean())
    losses, moved = [loss()], 0
    bounds = numpy.linspace(0, rows, workers + 1).astype(int).tolist()
    for epoch in range(event["epochs"]):
        moved += sum(seuss.await_all([
            seuss.chain_call(context.function_name, {"work": {
                "port": port, "features": features, "begin": begin, "end": end, "rate": 0.05, "seed": epoch * workers + n,
            }})
            for n, (begin, end) in enumerate(zip(bounds, bounds[1:]))
        ]))
        losses.append(loss())
    return {"losses": losses, "moved": moved + redis.moved}
