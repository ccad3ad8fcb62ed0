package tests

import (
	"context"
	"slices"
	"strings"
	"testing"

	"seuss/dispatcher"
)

// pythonFeatures are programs that use what CPython's library brings; each
// returns True where it works.
var pythonFeatures = map[string]string{
	"threads": `
import threading, queue
q = queue.Queue()
def work(n):
    total = 0
    for i in range(20000): total += i * n
    q.put(total)
ts = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
ok = sorted(q.get() for _ in ts) == [n * sum(range(20000)) for n in range(8)]`,
	"preemption": `
import threading, time
stop = False
def spin():
    while not stop: pass
t = threading.Thread(target=spin); t.start()
time.sleep(0.05); stop = True; t.join(5)
ok = not t.is_alive()`,
	"executor": `
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as ex: ok = list(ex.map(lambda x: x * x, range(50))) == [x * x for x in range(50)]`,
	"sqlite": `
import sqlite3
db = sqlite3.connect("/tmp/t.db"); db.execute("create table t (a, b)")
db.executemany("insert into t values (?, ?)", [(i, str(i)) for i in range(500)]); db.commit(); db.close()
ok = sqlite3.connect("/tmp/t.db").execute("select count(*), sum(a) from t").fetchone() == (500, sum(range(500)))`,
	"ssl": `
import ssl
ok = ssl.create_default_context().protocol == ssl.PROTOCOL_TLS_CLIENT and len(ssl.RAND_bytes(8)) == 8`,
	"numpy": `
import numpy as np
a = np.arange(10000, dtype=float).reshape(100, 100)
ok = bool(np.allclose(a @ np.linalg.inv(a + 100 * np.eye(100)), np.linalg.solve((a + 100 * np.eye(100)).T, a.T).T))`,
	"asyncio": `
import asyncio
async def main():
    async def one(n):
        await asyncio.sleep(0.001 * n); return n
    return await asyncio.gather(*[one(n) for n in range(10)])
ok = asyncio.run(main()) == list(range(10))`,
	"loopback": `
import socket, threading
s = socket.create_server(("127.0.0.1", 0))
def serve():
    c, _ = s.accept()
    while (b := c.recv(4096)): c.sendall(b.upper())
    c.close()
threading.Thread(target=serve).start()
c = socket.create_connection(s.getsockname()); c.sendall(b"hello"); c.shutdown(socket.SHUT_WR)
ok = c.recv(100) == b"HELLO"`,
	"files": `
import os, tempfile, shutil, pathlib
d = tempfile.mkdtemp(); p = pathlib.Path(d)
(p / "a").write_text("x" * 100000); os.rename(p / "a", p / "b"); os.symlink("b", p / "l")
os.makedirs(p / "deep/er"); shutil.copy(p / "l", p / "deep/er/c")
ok = sorted(os.listdir(d)) == ["b", "deep", "l"] and (p / "deep/er/c").stat().st_size == 100000
shutil.rmtree(d); ok = ok and not p.exists()`,
	"signals": `
import signal, time
seen = []
signal.signal(signal.SIGALRM, lambda s, f: seen.append(s)); signal.setitimer(signal.ITIMER_REAL, 0.01)
t = time.monotonic()
while not seen and time.monotonic() - t < 5: pass
ok = seen == [signal.SIGALRM]`,
	"sleep": `
import time
t = time.monotonic(); time.sleep(0.02); ok = 0.02 <= time.monotonic() - t < 2`,
	"decimal-zlib-hash": `
import decimal, zlib, hashlib, lzma, bz2, struct, datetime, zoneinfo
data = bytes(range(256)) * 100
ok = zlib.decompress(zlib.compress(data)) == data and lzma.decompress(lzma.compress(data)) == data and bz2.decompress(bz2.compress(data)) == data and decimal.Decimal(1) / 3 != 0 and datetime.datetime.now().year >= 2024`,
	"ctypes": `
import ctypes
ok = ctypes.CDLL(None).strlen(b"twelve chars") == 12`,
	"mmap": `
import mmap
m = mmap.mmap(-1, 1 << 20); m[500000:500005] = b"hello"; ok = m.find(b"hello") == 500000; m.close()`,
	"memory": `
x = [bytearray(1 << 20) for _ in range(60)]; del x
y = bytearray(50 << 20); ok = not any(y[::4096])`,
	"unicode-locale": `
import locale, sys
ok = sys.getfilesystemencoding() == "utf-8" and "ß".upper() == "SS" and locale.getpreferredencoding() in ("UTF-8", "utf-8")`,
}

func TestPythonFeatures(t *testing.T) {
	t.Parallel()
	d := openOwn(t, nil)
	for name, program := range pythonFeatures {
		t.Run(name, func(t *testing.T) {
			source := "def program():\n    scope = {}\n    exec(PROGRAM, scope)\n    return scope['ok']\nPROGRAM = '''" + program + "'''\ndef handler(event, context):\n    return program()\n"
			deploy(t, d, name, source, nil)
			for range 2 {
				r := invoke(t, d, name, `{}`)
				if !output[bool](t, r) {
					t.Errorf("not ok; logs %v", r.Logs)
				}
				if len(r.Unsupported) > 0 {
					t.Logf("unsupported calls: %v", r.Unsupported)
				}
			}
		})
	}
}

// TestAnswerBesideBusyThread: a thread that computes on does not hold the answer
// up, nor does it live on in the next instance.
func TestAnswerBesideBusyThread(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "busy", "import threading\nseen = []\ndef spin():\n    while True: seen.append(1) if len(seen) < 5 else None\ndef handler(e, c):\n    before = len(seen)\n    threading.Thread(target=spin, daemon=True).start()\n    return before\n", nil)
	for range 5 {
		if n := output[int](t, invoke(t, d, "busy", `{}`)); n != 0 {
			t.Errorf("%d traces of the thread of an earlier instance", n)
		}
	}
}

// TestModuleWithThreads: threads that a module starts are in its snapshot, and
// wait or run in every instance; a module whose thread never rests cannot be
// captured, and the error says so.
func TestModuleWithThreads(t *testing.T) {
	t.Parallel()
	d := openOwn(t, nil)
	deploy(t, d, "pool", "import queue, threading\nq, done = queue.Queue(), queue.Queue()\ndef work():\n    while True: done.put(q.get() * 2)\nfor _ in range(3): threading.Thread(target=work, daemon=True).start()\ndef handler(e, c):\n    for n in range(5): q.put(n)\n    return sorted(done.get() for _ in range(5))\n", nil)
	for range 5 {
		if got := output[[]int](t, invoke(t, d, "pool", `{}`)); !slices.Equal(got, []int{0, 2, 4, 6, 8}) {
			t.Errorf("the worker threads answered %v", got)
		}
	}
	_, err := d.Deploy(context.Background(), dispatcher.FunctionSpec{Name: "spins", Handler: "main.handler", Files: map[string][]byte{
		"main.py": []byte("import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()\ndef handler(e, c): return 1\n")}})
	if err == nil || !strings.Contains(err.Error(), "computes on") {
		t.Errorf("a module that never rests: error %v", err)
	}
}
