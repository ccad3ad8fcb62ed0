"""Has a zygote handle an event again and again, one after the other and then all at once, and
prints what each took, and all of them, in ns.

Usage: zygote_caller.py SOCKET IN-A-ROW AT-ONCE EVENT
"""

import json
import socket
import struct
import sys
import time

length = struct.Struct("<I")


def receive(connection, n):
    data = b""
    while len(data) < n:
        part = connection.recv(n - len(data))
        if not part:
            raise ConnectionError("the zygote has gone")
        data += part
    return data


def answer(connection):
    return json.loads(receive(connection, length.unpack(receive(connection, length.size))[0]))


def main():
    path, row, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    event = sys.argv[4].encode()
    request, now = length.pack(len(event)) + event, time.perf_counter_ns
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(120)
    connection.connect(path)
    took = []
    for _ in range(row):
        began = now()
        connection.sendall(request)
        answer(connection)
        took.append(now() - began)
    began = now()
    for _ in range(at_once):
        connection.sendall(request)
    for _ in range(at_once):
        answer(connection)
    print(json.dumps({"row": took, "at_once": now() - began}))


main()
