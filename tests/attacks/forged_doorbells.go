package attacks

func init() {
	add(Attack{
		Name:  "forged-doorbells",
		Tries: "A function rings every doorbell with values and widths that no kernel library would, without end, and with its reports anywhere in memory or beyond",
		Holds: "the invocation ends with one line that says so, or with its timeout",
		Tests: []string{"TestHostileGuests"},
		Run:   func(t *Target) { t.forge(doorbells) },
	})
}

var doorbells = Forgeries{
	"exit":                  {`ring(EXIT, 42)`, "exit:exit status 42"},
	"fault-at-0":            {`control(FAULT_GPA, 0); ring(FAULT, 11)`, "crash:SIGSEGV (no report"},
	"fault-at-end":          {`control(FAULT_GPA, memory_end() - 8); ring(FAULT, 11)`, "crash:no report"},
	"fault-wraps":           {`control(FAULT_GPA, MAX - 7); ring(FAULT, 11)`, "crash:no report"},
	"fault-unknown-signal":  {`ring(FAULT, 0xffffffff)`, "crash:signal 4294967295"},
	"fault-rip-behind-end":  {`control(FAULT_GPA, buffer(b"\0" * 16 + struct.pack("<22Q", *[memory_end() + 10] * 22) + bytes(8))); ring(FAULT, 11)`, "crash:SIGSEGV"},
	"fault-rip-at-end":      {`control(FAULT_GPA, buffer(b"\0" * 16 + struct.pack("<22Q", *[memory_end() + 31] * 22) + bytes(8))); ring(FAULT, 11)`, "crash:SIGSEGV"},
	"fault-rip-wraps":       {`control(FAULT_GPA, buffer(b"\xff" * 256)); ring(FAULT, 11)`, "crash:SIGSEGV"},
	"panic-wild":            {`control(PANIC_GPA, MAX - 3); ring(PANIC)`, "crash:no text at"},
	"panic-escapes":         {`control(PANIC_GPA, buffer(b"\x1b[2J\x1b]0;owned\x07line\r\nline\0")); ring(PANIC)`, "crash:gave up"},
	"panic-endless":         {`control(PANIC_GPA, buffer(b"x" * 100000)); ring(PANIC)`, "crash:gave up"},
	"unknown-doorbell":      {`store(BELL + 0xffc, 7)`, "crash:doorbell 0xffc does not exist"},
	"narrow-doorbell":       {`store(BELL + EXIT, 7, ctypes.c_uint8)`, "crash:neither memory nor a device"},
	"wide-doorbell":         {`store(BELL + EXIT, 7, ctypes.c_uint64)`, "crash:neither memory nor a device"},
	"outside-device-window": {`store(BELL + 0x2000, 7)`, "crash:"},
	"load-doorbell":         {`load(BELL + EXIT)`, "crash:load of 4 bytes"},
	"idle":                  {`ring(IDLE)`, "timeout"},
	"idle-past-deadline":    {"while True:\n        control(DEADLINE, 1)\n        ring(IDLE)", "timeout"},
	"doorbell-flood":        {"while True: ring(CONSOLE)", "timeout"},
	"register-flood":        {"while True: load(MMIO)", "timeout"},
}
