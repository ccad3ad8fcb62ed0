"""Does one thing with Redis again and again, and tells what each took, in ns: over a Unix
socket, natively, or over a vsock port that the host leads to one, in a function.

Usage: redis_bench.py SOCKET OPERATION N
"""

import json
import mmap
import socket
import sys
import time

VALUE = bytes(range(256)) * 16  # 4 KiB
now = time.perf_counter_ns


class Redis:
    def __init__(self, family, address):
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.connect(address)
        self.moved = 0  # bytes, both ways

    def __call__(self, *words):
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)
        self.sock.sendall(request)
        self.moved += len(request)
        got = self.sock.recv(65536)
        while b"\r\n" not in got:
            got += self.sock.recv(65536)
        head, _, rest = got.partition(b"\r\n")
        if head[:1] == b"-":
            raise RuntimeError(head.decode())
        if head[:1] != b"$" or head == b"$-1":
            return head
        length = int(head[1:])
        parts, missing = [rest], length + 2 - len(rest)
        while missing > 0:
            parts.append(self.sock.recv(min(missing, 1 << 20)))
            missing -= len(parts[-1])
        self.moved += length
        return b"".join(parts)[:length]


def work(redis, do, n):
    def lock():
        redis(b"SET", b"lock", b"token", b"NX", b"PX", b"30000")
        redis(b"DEL", b"lock")

    does = {
        "get": lambda: redis(b"GET", b"value"),
        "set": lambda: redis(b"SET", b"value", VALUE),
        "append": lambda: redis(b"APPEND", b"log", b"x" * 64),
        "lock": lock,
    }[do]
    redis(b"SET", b"value", VALUE)
    redis(b"DEL", b"log")
    took = []
    for _ in range(n):
        began = now()
        does()
        took.append(now() - began)
    return took


def own(size):
    import numpy

    words = numpy.frombuffer(mmap.mmap(-1, size), "u8")
    words[:] = 1  # or all of it would be one page of zeros
    words.sum()
    began = now()
    words.sum()
    return now() - began


def handler(event, context):
    return work(Redis(socket.AF_VSOCK, (2, event["port"])), event["do"], event["n"])


if __name__ == "__main__":
    path, do, n = sys.argv[1:]
    print(json.dumps([own(int(n))] if do == "own" else work(Redis(socket.AF_UNIX, path), do, int(n))))
