# What functions do wrong by accident as well: crash, hang, eat all memory, write and
# recurse without end, leave.
import ctypes, os, threading
def eat(keep):
    while True:
        keep.append(bytearray(b"x" * (1 << 20)))
def beyond_the_limit():
    keep = []
    try:
        eat(keep)
    except MemoryError:
        pass
    while True:
        pass
def hang():
    while True:
        pass
def write():
    while True:
        print("x" * 1000)
def recurse():
    return recurse()
def threads():
    try:
        for n in range(100000):
            threading.Thread(target=hang, daemon=True).start()
    except RuntimeError:
        pass
    hang()
WAYS = {"crash": lambda: ctypes.string_at(0), "hang": hang, "eat": lambda: eat([]), "beyond": beyond_the_limit, "write": write,
        "exit": lambda: os._exit(3), "abort": os.abort, "recurse": recurse, "threads": threads, "large": lambda: "x" * (7 << 20)}
def handler(event, context):
    return WAYS[event["how"]]()
