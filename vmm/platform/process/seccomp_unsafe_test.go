package process

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform/process/stub"
)

// verdict runs the filter as the kernel does. The package's machine reads words
// big-endian, the kernel in its own order.
func verdict(t *testing.T, notify bool, number, arch uint32, args ...uint64) uint32 {
	t.Helper()
	raw, err := filter(notify)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter has instructions that the package does not know")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, unsafe.Sizeof(seccompData{}))
	binary.BigEndian.PutUint32(data[dataNumber:], number)
	binary.BigEndian.PutUint32(data[dataArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[dataArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[dataArgs+8*i+4:], uint32(a>>32))
	}
	n, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestFilter(t *testing.T) {
	const window = stub.FDWindow + 3
	for name, c := range map[string]struct {
		number, arch uint32
		args         []uint64
		first, both  uint32 // verdicts of the two filters
	}{
		"park":             {unix.SYS_PAUSE, auditArchX8664, nil, actNotify, actAllow},
		"signal return":    {unix.SYS_RT_SIGRETURN, auditArchX8664, nil, actAllow, actAllow},
		"set-up call":      {unix.SYS_SENDMSG, auditArchX8664, nil, actAllow, actKill},
		"other":            {unix.SYS_OPENAT, auditArchX8664, nil, actKill, actKill},
		"other machine":    {unix.SYS_PAUSE, 0x40000003, nil, actKill, actKill},
		"x32":              {unix.SYS_PAUSE | 0x40000000, auditArchX8664, nil, actKill, actKill},
		"lent file":        {unix.SYS_MMAP, auditArchX8664, []uint64{0x400000, pageSize, guestProt, fileFlags, window, 0}, actAllow, actAllow},
		"memory":           {unix.SYS_MMAP, auditArchX8664, []uint64{0x1_4000_0000, 1 << 32, guestProt, ownFlags, window, 0}, actAllow, actAllow},
		"far window":       {unix.SYS_MMAP, auditArchX8664, []uint64{guest.FarBase, guest.FarBytes, unix.PROT_NONE, ownFlags, window, 0}, actAllow, actAllow},
		"far page":         {unix.SYS_MMAP, auditArchX8664, []uint64{guest.FarBase + guest.FarBytes - pageSize, pageSize, guestProt, ownFlags, window, 0}, actAllow, actAllow},
		"below far":        {unix.SYS_MMAP, auditArchX8664, []uint64{guest.FarBase - pageSize, pageSize, guestProt, ownFlags, window, 0}, actKill, actKill},
		"above far":        {unix.SYS_MMAP, auditArchX8664, []uint64{guest.FarBase + guest.FarBytes, pageSize, guestProt, ownFlags, window, 0}, actKill, actKill},
		"far and more":     {unix.SYS_MMAP, auditArchX8664, []uint64{guest.FarBase, guest.FarBytes + 1<<32, guestProt, ownFlags, window, 0}, actKill, actKill},
		"above the guest":  {unix.SYS_MMAP, auditArchX8664, []uint64{stub.Text, pageSize, guestProt, ownFlags, window, 0}, actKill, actKill},
		"far too long":     {unix.SYS_MMAP, auditArchX8664, []uint64{0x400000, 1 << 40, guestProt, ownFlags, window, 0}, actKill, actKill},
		"anonymous":        {unix.SYS_MMAP, auditArchX8664, []uint64{0x400000, pageSize, guestProt, fileFlags | unix.MAP_ANONYMOUS, window, 0}, actKill, actKill},
		"no file":          {unix.SYS_MMAP, auditArchX8664, []uint64{0x400000, pageSize, guestProt, fileFlags, 1<<64 - 1, 0}, actKill, actKill},
		"below the window": {unix.SYS_MMAP, auditArchX8664, []uint64{0x400000, pageSize, guestProt, fileFlags, stub.FDWindow - 1, 0}, actKill, actKill},
		"above the window": {unix.SYS_MMAP, auditArchX8664, []uint64{0x400000, pageSize, guestProt, fileFlags, stub.FDWindow + stub.WindowFds, 0}, actKill, actKill},
		"FS base":          {unix.SYS_ARCH_PRCTL, auditArchX8664, []uint64{archSetFS}, actAllow, actAllow},
		"CPUID faults":     {unix.SYS_ARCH_PRCTL, auditArchX8664, []uint64{0x1012}, actKill, actKill},
	} {
		if got := verdict(t, true, c.number, c.arch, c.args...); got != c.first {
			t.Errorf("%s: the first filter says %#x, want %#x", name, got, c.first)
		}
		if got := verdict(t, false, c.number, c.arch, c.args...); got != c.both {
			t.Errorf("%s: the second filter says %#x, want %#x", name, got, c.both)
		}
	}
}

// TestKernelStructures: the requests carry the sizes of the structures.
func TestKernelStructures(t *testing.T) {
	for _, c := range []struct {
		request uint32
		size    uintptr
	}{{notifReceive, unsafe.Sizeof(notification{})}, {notifSend, unsafe.Sizeof(response{})}, {notifAddFD, unsafe.Sizeof(addFD{})}} {
		if got := uintptr(c.request >> 16 & 0x3fff); got != c.size {
			t.Errorf("request %#x is for %d bytes, the structure has %d", c.request, got, c.size)
		}
	}
}
