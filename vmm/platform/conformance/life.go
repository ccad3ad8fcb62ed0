package conformance

import (
	"os"
	"strings"
	"testing"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest/testguest"
)

// exceptions: they reach the guest's handlers, with what the processor tells of them.
func exceptions(b *bench) {
	for _, c := range []struct {
		command testguest.Command
		vector  uint64
	}{{testguest.PageFault, 14}, {testguest.Undefined, 6}, {testguest.Divide, 0}} {
		b.must(b.Memory().WriteU64(testguest.Vector, 99))
		b.command(c.command)
		if v := b.u64(testguest.Vector); v != c.vector {
			b.t.Errorf("command %d: vector %d, want %d", c.command, v, c.vector)
		}
		if rip := b.u64(testguest.FaultRIP); rip < guest.KernelGPA || rip >= guest.KernelGPA+0x1000 {
			b.t.Errorf("vector %d: RIP %#x", c.vector, rip)
		}
		if rsp := b.u64(testguest.FaultRSP); rsp != 0x37000 {
			b.t.Errorf("vector %d: RSP %#x", c.vector, rsp)
		}
		if at, err := b.VM().VCPU().FaultAddress(); c.vector == 14 && (err != nil || at != 0x123456789a) {
			b.t.Errorf("the fault's address is %#x, %v", at, err)
		}
	}
}

// systemCalls: they reach the guest's entry, and stay at its level.
func systemCalls(b *bench) {
	b.command(testguest.Syscall)
	if b.u64(testguest.Result) != 1235 || b.u64(testguest.Syscalls) != 1 {
		b.t.Errorf("result %d, %d calls", b.u64(testguest.Result), b.u64(testguest.Syscalls))
	}
	if cs := b.capture().CPU.Special.CS.DPL; cs != b.p.CPU().CPL {
		b.t.Errorf("CPL %d after a system call, the platform says %d", cs, b.p.CPU().CPL)
	}
}

// faultsCounted: a page that becomes private in a run is counted. Zeros might come in huge
// pages, files do not.
func faultsCounted(b *bench) {
	f, _ := b.blob(4)
	b.must(b.Memory().MapFile(mapPage, 4, f, 0))
	before := b.HostFaults()
	b.add(mapGPA, mapGPA+page(1), mapGPA+page(3))
	if now := b.HostFaults(); now <= before {
		b.t.Errorf("%d faults before pages became private, %d after", before, now)
	}
}

// devices: loads and stores of device registers.
func devices(b *bench) {
	b.command(testguest.MMIORead)
	if got := b.u64(testguest.Result); got != 19<<32|guest.VsockMagic {
		b.t.Errorf("magic and device id %#x", got)
	}
	if got := b.u64(testguest.Result + 8); got != vmm.DefaultCID {
		b.t.Errorf("CID %d", got)
	}
}

// ends: whatever a guest ends with, the exit says so, and the machine can be another
// instance's.
func ends(b *bench) {
	s, ram := b.capture(), b.contents()
	for _, c := range []struct {
		command testguest.Command
		stop    vmm.StopKind
		exit    platform.ExitKind
	}{
		{testguest.Exit, vmm.StopExit, 0},
		{testguest.TripleFault, vmm.StopCrash, platform.ExitShutdown},
		{testguest.Outside, vmm.StopCrash, platform.ExitMMIOWrite},
		{testguest.BadDoorbell, vmm.StopCrash, platform.ExitDoorbell},
	} {
		b.must(b.Memory().WriteU64(testguest.Result, guest.DeviceGPA+0x10000)) // behind the devices
		b.order(c.command)
		stop := b.stops(c.stop)
		if stop.Exit.Kind != c.exit || c.stop == vmm.StopExit && stop.Code != 42 {
			b.t.Errorf("command %d: %+v, want exit %v", c.command, stop, c.exit)
		}
		b.restore(s, ram)
		b.sameAs(s, ram, "a restore after an end")
	}
}

// life: what is open is alive, and is closed in order, twice if need be.
func life(b *bench) {
	vm, err := b.p.NewVM()
	b.must(err)
	mem, err := vm.NewMemory(4<<20, false)
	b.must(err)
	if !vm.Alive() {
		b.t.Error("a new machine is dead")
	}
	if uint64(len(mem.Bytes())) != 4<<20 {
		b.t.Errorf("%d bytes of memory", len(mem.Bytes()))
	}
	b.must(vm.Close(), vm.Close(), mem.Close())
	empty, err := b.p.NewVM() // with no memory at all
	b.must(err)
	b.must(empty.Close())
	b.command(testguest.Console) // and others go on
	if !b.VM().Alive() || b.VM().Process() <= 0 {
		b.t.Errorf("a machine that runs: alive %v, process %d", b.VM().Alive(), b.VM().Process())
	}
}

// nothingLeaks: machines leave neither descriptors nor mappings.
func nothingLeaks(b *bench) {
	cycle := func() {
		m, err := vmm.NewMachine(b.p, vmm.Config{RAMBytes: 4 << 20})
		b.must(err)
		b.must(m.Close(), m.Close())
	}
	cycle()
	files, maps := openFiles(b.t), mappings(b.t)
	for range 10 {
		cycle()
	}
	if n := openFiles(b.t); n > files {
		b.t.Errorf("%d descriptors before, %d after", files, n)
	}
	if n := mappings(b.t); n > maps+5 {
		b.t.Errorf("%d mappings before, %d after", maps, n)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func mappings(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

// refusedShapes: a machine that cannot be made leaves nothing behind.
func refusedShapes(b *bench) {
	files := openFiles(b.t)
	for _, ram := range []uint64{0, 1, 4<<20 + 1, 1 << 60} {
		if m, err := vmm.NewMachine(b.p, vmm.Config{RAMBytes: ram}); err == nil {
			b.t.Errorf("a machine with %d bytes of RAM", ram)
			m.Close()
		}
	}
	if n := openFiles(b.t); n > files {
		b.t.Errorf("%d descriptors before, %d after", files, n)
	}
	cpu := b.p.CPU()
	if cpu.TSCKHz == 0 || cpu.XCR0&3 != 3 || cpu.XSaveBytes < 576 || cpu.CPL != 0 && cpu.CPL != 3 {
		b.t.Errorf("CPU %+v", cpu)
	}
	if missing := cpu.Features.Missing(cpu.Features); missing != nil {
		b.t.Errorf("a CPU lacks its own features: %v", missing)
	}
	if info := b.p.Info(); info.Platform != b.p.Name() || len(info.Facts) == 0 {
		b.t.Errorf("info %+v of %s", info, b.p.Name())
	}
}
