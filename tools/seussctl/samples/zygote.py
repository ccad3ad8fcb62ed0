"""What snapshots are measured against: a Python process with the function
imported that forks for every request.

Usage: zygote.py SOCKET DIRECTORY MODULE

One client at a time connects to the Unix socket and keeps the connection. A
request is the length of the event (4 bytes, little endian) and the event; the
forked child runs the handler and answers in the same form. Forking after the
read, answering from the child and never waiting for it is the fastest way
that this can be done with a process a request.
"""

import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys

length = struct.Struct("<I")


def receive(connection, n):
    data = b""
    while len(data) < n:
        part = connection.recv(n - len(data))
        if not part:
            return None
        data += part
    return data


def answer(connection, handler, event):
    result = json.dumps(handler(json.loads(event), None)).encode()
    connection.sendall(length.pack(len(result)) + result)


def serve(connection, handler):
    while True:
        head = receive(connection, length.size)
        if head is None:
            return
        event = receive(connection, length.unpack(head)[0])
        if event is None:
            return
        if os.fork() == 0:
            try:
                answer(connection, handler, event)
            finally:
                os._exit(0)


def main():
    path, directory, module = sys.argv[1:]
    sys.path.insert(0, directory)
    handler = importlib.import_module(module).handler
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    gc.collect()
    gc.freeze()  # the collector must not copy the parent's pages
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            serve(connection, handler)


main()
