"""Distributed stochastic gradient descent as in Faasm's paper, in the way of Hogwild: workers
share a sparse matrix, which they only read, and the weights, to which each adds its updates
when it has them, without a lock. All of it is in regions: nothing is copied.

Deploy it as NAME with --call NAME --share sgd:rw."""

import numpy
import seuss

PER_ROW = 8  # entries of the matrix


def matrix(job, rows, write=False):
    """The matrix's columns and values, PER_ROW of each row, and what each row should give."""
    n = rows * PER_ROW
    memory = seuss.region(f"{job}/matrix", 16 * n + 8 * rows, read_only=not write)
    columns = numpy.frombuffer(memory, "i8", n).reshape(rows, PER_ROW)
    values = numpy.frombuffer(memory, "f8", n, 8 * n).reshape(rows, PER_ROW)
    return columns, values, numpy.frombuffer(memory, "f8", rows, 16 * n)


def weights(job, features):
    return numpy.frombuffer(seuss.region(f"{job}/weights", 8 * features), "f8")


def make(job, rows, features, seed):
    """Makes a matrix for which weights are known that fit: they are returned."""
    random = numpy.random.default_rng(seed)
    columns, values, wanted = matrix(job, rows, write=True)
    columns[:] = random.integers(0, features, columns.shape)
    values[:] = random.normal(size=values.shape)
    truth = random.normal(size=features)
    wanted[:] = (values * truth[columns]).sum(axis=1)
    weights(job, features)
    return truth


def work(job, rows, features, begin, end, rate, seed):
    """Takes each row from begin to end once, in an order of its own."""
    columns, values, wanted = matrix(job, rows)
    w = weights(job, features)
    for row in numpy.random.default_rng(seed).permutation(numpy.arange(begin, end)):
        at, x = columns[row], values[row]
        numpy.add.at(w, at, rate * (wanted[row] - x @ w[at]) * x)


def loss(job, rows, features):
    columns, values, wanted = matrix(job, rows)
    error = (values * weights(job, features)[columns]).sum(axis=1) - wanted
    return float((error**2).mean())


def handler(event, context):
    if "work" in event:
        return work(**event["work"])
    rows, features, workers = event["rows"], event["features"], event.get("workers", 8)
    job = f"sgd/{context.aws_request_id}"
    truth = make(job, rows, features, event.get("seed", 1))
    losses = [loss(job, rows, features)]
    bounds = numpy.linspace(0, rows, workers + 1).astype(int).tolist()
    for epoch in range(event.get("epochs", 5)):
        seuss.await_all([
            seuss.chain_call(context.function_name, {"work": {
                "job": job, "rows": rows, "features": features, "begin": begin, "end": end,
                "rate": event.get("rate", 0.05), "seed": epoch * workers + n,
            }})
            for n, (begin, end) in enumerate(zip(bounds, bounds[1:]))
        ])
        losses.append(loss(job, rows, features))
    found = weights(job, features).tolist()
    for name in "matrix", "weights":
        seuss.region(f"{job}/{name}").unlink()
    return {"losses": losses, "weights": found, "truth": truth.tolist()}
