"""Does one thing with state again and again, and tells what each took, in ns."""

import time

import seuss
from seuss import state

VALUE = bytes(range(256)) * 16  # 4 KiB
now = time.perf_counter_ns


def lock():
    state.lock("bench/lock").acquire().release()


DOES = {
    "get": lambda: state.get("bench/value"),
    "set": lambda: state.set("bench/value", VALUE),
    "append": lambda: state.append("bench/log", b"x" * 64),
    "lock": lock,
}


def timed(f, n):
    took = []
    for _ in range(n):
        began = now()
        f()
        took.append(now() - began)
    return took


def scan(memory):
    """Reads all of it twice, and tells what the second time took."""
    import numpy

    words = numpy.frombuffer(memory, "u8")
    words.sum()
    began = now()
    words.sum()
    return now() - began


def shared(size, opens, readers, function):
    """Holds a region while others open it, and then read it."""
    region = seuss.region("bench/region", size)
    for page in range(0, size, 4096):
        region[page] = 1
    read = lambda: region[65536:69632]
    call = lambda do: seuss.await_call(seuss.chain_call(function, {"do": do, "size": size}))
    return {"read": timed(read, 200), "open": [call("open") for _ in range(opens)], "scan": [call("scan") for _ in range(readers)]}


def handler(event, context):
    do = event["do"]
    if do == "open":
        began = now()
        seuss.region("bench/region", event["size"])
        return now() - began
    if do == "scan":
        return scan(seuss.region("bench/region", event["size"], read_only=True))
    if do == "shared":
        return shared(event["size"], event["opens"], event["readers"], event["function"])
    if event["n"] == 0:
        state.set("bench/log", b"")
        state.set("bench/value", VALUE)
    return timed(DOES[do], event["n"])
