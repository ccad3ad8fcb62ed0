"""What planned import nodes are measured against: the same tree as Python processes, each
of which has imported what its node holds and forks for every request.

Usage: zygote_tree.py SOCKET

Each process of the tree listens on a Unix socket, the first one on SOCKET. A connection is
one request: a JSON document and the end of the stream. {"socket": PATH, "modules": [NAME]}
forks a process of the tree, which imports these and listens there; the answer is {"pid": N}
when it does. {"code": TEXT} forks a child that runs the text as a module and its handler;
the answer is what that returns. An answer of {"error": TEXT} is a failure. Nothing is
waited for: the kernel reaps.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys


def listen(path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(64)
    return listener


def receive(connection):
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return json.loads(b"".join(parts))


def answer(connection, document):
    connection.sendall(json.dumps(document).encode())
    connection.close()


def grow(request, connection):
    """Becomes a process of the tree."""
    for name in request["modules"]:
        try:
            importlib.import_module(name)
        except Exception:
            pass  # as where snapshots are made: what cannot be imported is not there
    gc.collect()
    gc.freeze()  # the collector must not copy the parent's pages
    listener = listen(request["socket"])
    answer(connection, {"pid": os.getpid()})
    return listener


def run(request, connection):
    space = {"__name__": "main"}
    exec(compile(request["code"], "main.py", "exec"), space)
    answer(connection, space["handler"]({}, None))


def serve(listener):
    while True:
        connection, _ = listener.accept()
        request = receive(connection)
        if os.fork():
            connection.close()
            continue
        listener.close()
        try:
            if "socket" in request:
                listener = grow(request, connection)
                continue
            run(request, connection)
        except BaseException as e:
            answer(connection, {"error": f"{type(e).__name__}: {e}"})
        os._exit(0)


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    listener = listen(sys.argv[1])
    print("ready", flush=True)
    serve(listener)


main()
