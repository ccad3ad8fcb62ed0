package attacks

func init() {
	add(Attack{
		Name:  "forged-queues",
		Tries: "A function forges virtqueues, descriptors, chains of all memory, packets and device registers",
		Holds: "the machine is ended with one line, its neighbours notice nothing",
		Tests: []string{"TestHostileGuests"},
		Run:   func(t *Target) { t.forge(queues) },
	})
}

var queues = Forgeries{
	"tx-runaway":      {`q = queues()[1]; q.idx += 1000; notify()`, "crash:ahead of a queue"},
	"rx-runaway":      {`q = queues()[0]; q.idx += 1000; packet(5)`, "ok|crash:ahead of a queue"},
	"descriptor-wild": {`packet(5, descriptor=lambda at, n: (MAX - 8, 64))`, "crash:descriptor"},
	"descriptor-0":    {`packet(5, descriptor=lambda at, n: (0, 64))`, "crash:descriptor"},
	"descriptor-huge": {`packet(5, descriptor=lambda at, n: (at, 2**32 - 1))`, "crash:descriptor"},
	"descriptor-loop": {"tx = queues()[1]\n    slot = tx.idx % 16\n    tx.describe(slot, 0x400000, 8, 1, slot); tx.offer(slot); notify()", "crash:loops"},
	"descriptor-link": {`packet(5, descriptor=lambda at, n: (at, n, 1, 999))`, "crash:descriptor 999 of 16"},
	"chain-of-memory": {"tx = queues()[1]\n    for i in range(16): tx.describe(i, 0x10000, memory_end() - 0x10000, int(i < 15), i + 1)\n    tx.offer(0); notify()", "crash:has more than"},
	"indirect":        {`packet(5, descriptor=lambda at, n: (at, n, 4))`, "crash:indirect"},
	"head-outside":    {`q = queues()[1]; q.offer(4000); notify()`, "crash:descriptor 4000 of 16"},
	"packet-length":   {`packet(5, n=2**32 - 1)`, "ok|timeout|crash:"},
	"packet-short":    {`packet(5, descriptor=lambda at, n: (at, 3))`, "ok|timeout|crash:"},
	"packet-op":       {`packet(77)`, "ok|timeout|crash:|exit:"},
	"packet-type":     {`packet(5, kind=9)`, "ok|timeout|crash:"},
	"packet-cid":      {`packet(5, cid=1234567890123)`, "ok|timeout|crash:"},
	"packet-to":       {`packet(1, to=2**63, src=7)`, "ok|timeout|crash:"},
	"packet-reset":    {`packet(3)`, "timeout|crash:|died:|exit:"},
	"packet-shutdown": {`packet(4)`, "ok|timeout|crash:|died:"},
	"packet-credit":   {`packet(6, alloc=2**32 - 1, forwarded=2**31)`, "ok|timeout|crash:"},
	"packet-no-room":  {`packet(6, alloc=0)`, "ok|timeout"},
	"second-driver":   {`packet(1, src=99)`, "ok|timeout"},
	"requests":        {"for i in range(300): packet(1, src=10000 + i, dst=1 + i % 7)", "ok|timeout|crash:"},
	"device-reset":    {`store(MMIO + 0x70, 0)`, "timeout|crash:|died:"},
	"queue-gone":      {"store(MMIO + 0x30, 1)\n    store(MMIO + 0x44, 0)", "timeout|crash:"},
	"queue-moved":     {"for reg, v in ((0x30, 1), (0x44, 0), (0x38, 256), (0x80, 0xfffffff0), (0x84, 0xffffffff), (0x44, 1)): store(MMIO + reg, v)", "crash:"},
	"registers":       {"for reg in range(0, 0x1000, 4):\n        for v in (0xffffffff, 0): store(MMIO + reg, v)", "timeout|crash:|died:"},
	"used-index":      {`q = queues()[0]; store(q.used + 2, 0x8000, ctypes.c_uint16)`, "ok|timeout|crash:|died:|exit:"},
	"events-by-bytes": {"s = [socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) for _ in range(200)]\n    for x in s:\n        try: x.connect((2, 4242))\n        except OSError: pass", "ok"},
}
