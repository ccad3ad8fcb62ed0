package attacks

func init() {
	add(Attack{
		Name:  "wild-jumps",
		Tries: "A function jumps anywhere, runs privileged instructions, calls the system with nonsense and without end",
		Holds: "its own instance ends, with a report or at its timeout",
		Tests: []string{"TestHostileGuests"},
		Run:   func(t *Target) { t.forge(jumps) },
	})
}

var jumps = Forgeries{
	"jump-nowhere":   {`jump(0x41414141000)`, "crash:"},
	"jump-non-canon": {`jump(1 << 63)`, "crash:"},
	"jump-device":    {`jump(BELL)`, "crash:|timeout"},
	"jump-zero":      {`jump(0)`, "crash:"},
	"privileged":     {`jump(code(0x0f, 0x22, 0xd8, 0xf4, 0xc3))`, "crash:|timeout|died:|ok"},
	"halt":           {`jump(code(0xf4, 0xeb, 0xfd))`, "crash:|timeout"},
	"port":           {`jump(code(0xb0, 0xfe, 0xe6, 0x64, 0xc3))`, "crash:|timeout|ok"},
	"hypercall":      {`jump(code(0x0f, 0x01, 0xc1, 0x0f, 0x01, 0xd9, 0xc3))`, "crash:|timeout|ok"},
	"bad-stack":      {`jump(code(0x48, 0x31, 0xe4, 0x50, 0xc3))`, "crash:|timeout"},
	"bad-flags":      {`jump(code(0x6a, 0xff, 0x9d, 0xeb, 0xfe))`, "crash:|timeout"},
	"wild-syscalls":  {"n = ctypes.CDLL(None).syscall\n    for i in list(range(0, 60)) + list(range(61, 231)) + list(range(232, 400)):\n        if i not in (0, 15, 34, 35, 130): n(i, -1, -1, -1, -1, -1, -1)", "ok|timeout|crash:|exit:|function:|died:"},
	"syscall-flood":  {"while True: os.getppid()", "timeout"},
	"thread-flood":   {"try:\n        for i in range(100000): threading.Thread(target=stuck, daemon=True).start()\n    except RuntimeError: pass\n    stuck()", "timeout|crash:"},
	"memory-flood":   {"import mmap\n    try:\n        while True: keep.append(mmap.mmap(-1, 1 << 22)); fill(ctypes.addressof(ctypes.c_char.from_buffer(keep[-1])), 1 << 22, 1)\n    except OSError: return 'done'", "ok|timeout"},
}
