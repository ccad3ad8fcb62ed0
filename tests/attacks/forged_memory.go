package attacks

func init() {
	add(Attack{
		Name:  "forged-memory",
		Tries: "A function overwrites control page, page tables, descriptor tables, the kernel library and the image, or all of memory",
		Holds: "its own instance ends; no other shows a byte of it, and no snapshot changes",
		Tests: []string{"TestHostileGuests"},
		Run:   func(t *Target) { t.forge(memory) },
	})
}

var memory = Forgeries{
	"control-page":   {`fill(CONTROL, 4096, 0xff)`, "ok|timeout|crash:|died:|exit:"},
	"control-zero":   {`fill(CONTROL, 4096, 0)`, "ok|timeout|crash:|died:|exit:"},
	"kernel-end":     {"control(KERNEL_END, MAX); control(UPCALL, 0x400000)\n    stuck()", "timeout"},
	"upcall-entry":   {"control(UPCALL, MAX); threading.Thread(target=stuck).start()\n    stuck()", "timeout"},
	"bitmaps":        {"control(USED, MAX); control(CLEAN, MAX - 5); control(BITS, MAX)\n    bytearray(1 << 24)", "ok|timeout|crash:|function:"},
	"enosys":         {"control(ENOSYS_GPA, MAX - 9); ctypes.CDLL(None).syscall(499)", "ok|timeout|crash:"},
	"identity":       {`fill(0x2000, 4096, 0xff); os.urandom(8); time.time()`, "ok|timeout|crash:|exit:|function:"},
	"page-tables":    {`fill(0x6000, 0x4000, 0); jump(code(0xc3))`, "ok|timeout|crash:|exit:|died:"},
	"page-tables-ff": {`fill(0x6000, 0xc000, 0xff); fill(0x600000, 4096, 1)`, "ok|timeout|crash:|exit:|died:"},
	"remapped":       {"for pd in range(0xa000, 0x12000, 8): store(pd, 0x7fc0000000 | 0xe7, ctypes.c_uint64)\n    keep.append(bytearray(1 << 22))", "ok|timeout|crash:|exit:|died:|function:"},
	"descriptors":    {`fill(0x4000, 0x2000, 0); ctypes.string_at(0)`, "ok|timeout|crash:|exit:|died:"},
	"kernel-library": {`fill(0x20000, control(KERNEL_END) - 0x20000, 0xcc)`, "timeout|crash:|exit:|died:"},
	"kernel-zero":    {`fill(0x20000, control(KERNEL_END) - 0x20000, 0); stuck()`, "timeout|crash:"},
	"all-memory":     {`fill(0x1000, memory_end() - 0x1000, 0xf4)`, "timeout|crash:"},
	"root-image":     {`fill(memory_end() - (1 << 22), 1 << 22, 0xee)`, "ok|crash:"},
}
