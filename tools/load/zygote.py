"""A zygote: the runtime is started and json imported; each request is served by
a fork of it. Usage: python3 zygote.py SOCKET"""

import json
import os
import signal
import socket
import struct
import sys

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for children
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(4096)
while True:
    conn, _ = listener.accept()
    if os.fork():
        conn.close()
        continue
    head = conn.recv(4, socket.MSG_WAITALL)
    if len(head) == 4:
        request = json.loads(conn.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL))
        scope = {}
        exec(compile(request["source"], "main.py", "exec"), scope)
        conn.sendall(json.dumps(scope["handler"](request["event"], None)).encode())
    os._exit(0)
