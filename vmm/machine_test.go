package vmm_test

import (
	"bytes"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest"
	"seuss/vmm/vmmtest/testguest"
)

// The mailbox and commands of package testguest.
const (
	mailbox      = testguest.Mailbox
	mailUpcalls  = testguest.Upcalls
	mailVector   = testguest.Vector
	mailRIP      = testguest.FaultRIP
	mailRSP      = testguest.FaultRSP
	mailResult   = testguest.Result
	mailSyscalls = testguest.Syscalls
	mailCount    = testguest.Count
	mailProgram  = testguest.Program
	mailList     = testguest.List
	mailSaved    = testguest.Saved
)

const (
	cmdProgram       = uint32(testguest.RunProgram)
	cmdPageFault     = uint32(testguest.PageFault)
	cmdUndefined     = uint32(testguest.Undefined)
	cmdRegisters     = uint32(testguest.Registers)
	cmdTripleFault   = uint32(testguest.TripleFault)
	cmdExit          = uint32(testguest.Exit)
	cmdConsole       = uint32(testguest.Console)
	cmdStores        = uint32(testguest.Stores)
	cmdMMIORead      = uint32(testguest.MMIORead)
	cmdSyscall       = uint32(testguest.Syscall)
	cmdExtendedState = uint32(testguest.ExtendedState)
	cmdTime          = uint32(testguest.Time)
	cmdKernelSpin    = uint32(testguest.KernelSpin)
	cmdOutside       = uint32(testguest.Outside)
	cmdBadDoorbell   = uint32(testguest.BadDoorbell)
	cmdDivide        = uint32(testguest.Divide)
)

const (
	testRAM   = 8 << 20
	testImage = 1 << 20
	// testTime is enough for anything that a test does, on the slowest host.
	testTime = 20 * time.Second
)

// bench is a machine with the test guest, resting at its idle doorbell.
type bench struct {
	*vmm.Machine
	t       testing.TB
	p       platform.Platform
	console bytes.Buffer
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOn(t, vmmtest.Require(t), false)
}

func newBenchOn(t testing.TB, p platform.Platform, logDirty bool) *bench {
	t.Helper()
	b := &bench{t: t, p: p}
	m, err := vmm.NewMachine(p, vmm.Config{RAMBytes: testRAM, ImageBytes: testImage, LogDirty: logDirty,
		Console: func(fd uint16, p []byte) { b.console.WriteString(string(rune('0'+fd)) + string(p)) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	b.Machine = m
	b.load()
	if err := m.ColdBoot(vmm.BootConfig{Args: []string{"test"}}); err != nil {
		t.Fatal(err)
	}
	b.expect(vmm.StopIdle)
	return b
}

func (b *bench) load() {
	b.t.Helper()
	if err := b.Memory().Write(guest.KernelGPA, testguest.Binary); err != nil {
		b.t.Fatal(err)
	}
}

// command runs one command until the guest stops.
func (b *bench) command(cmd uint32) vmm.Stop {
	b.t.Helper()
	if err := b.Memory().WriteU32(mailbox, cmd); err != nil {
		b.t.Fatal(err)
	}
	return b.run(vmm.RunOptions{Deadline: time.Now().Add(testTime)})
}

func (b *bench) run(o vmm.RunOptions) vmm.Stop {
	b.t.Helper()
	stop, err := b.Run(o)
	if err != nil {
		b.t.Fatal(err)
	}
	return stop
}

func (b *bench) expect(kind vmm.StopKind) vmm.Stop {
	b.t.Helper()
	return b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(testTime)}), kind)
}

func (b *bench) check(s vmm.Stop, kind vmm.StopKind) vmm.Stop {
	b.t.Helper()
	if s.Kind != kind {
		b.t.Fatalf("stopped with %v (exit %v at %#x, value %#x, detail %#x, error %v), want %v\nregisters %+v",
			s.Kind, s.Exit.Kind, uint64(s.Exit.GPA), s.Exit.Value, s.Exit.Detail, s.Err, kind, b.Registers())
	}
	return s
}

// needExtendedState skips where the guest's code cannot use SSE and AVX.
func (b *bench) needExtendedState() {
	b.t.Helper()
	if !b.p.Capabilities().ExtendedState {
		b.t.Skipf("guests of %s at CPL %d cannot use the extended state's instructions", b.p.Name(), b.p.CPU().CPL)
	}
}

func (b *bench) u64(gpa vmm.GPA) uint64 {
	b.t.Helper()
	v, err := b.Memory().ReadU64(gpa)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *bench) setU64(gpa vmm.GPA, v uint64) {
	b.t.Helper()
	if err := b.Memory().WriteU64(gpa, v); err != nil {
		b.t.Fatal(err)
	}
}

// program puts code where it is not the kernel library.
func (b *bench) program(code ...byte) {
	b.t.Helper()
	if err := b.Memory().Write(mailProgram, code); err != nil {
		b.t.Fatal(err)
	}
}

var spin = testguest.Spin

func TestBootReachesIdle(t *testing.T) {
	b := newBench(t)
	if !b.Quiescent() {
		t.Error("an idle machine is not quiescent")
	}
	for range 3 {
		b.expect(vmm.StopIdle)
	}
	t.Log(b.p.Info())
}

func TestExtendedStateAndLevel(t *testing.T) {
	b := newBench(t)
	cpu := b.p.CPU()
	b.needExtendedState()
	b.check(b.command(cmdExtendedState), vmm.StopIdle)
	xcr0, size, cs := b.u64(mailResult), uint32(b.u64(mailResult+8)), b.u64(mailResult+8)>>32
	t.Logf("guest sees XCR0 %#x, %d bytes, CS %#x; platform says XCR0 %#x, %d bytes, CPL %d", xcr0, size, cs, cpu.XCR0, cpu.XSaveBytes, cpu.CPL)
	if uint8(cs&3) != cpu.CPL {
		t.Errorf("guest runs at CPL %d, platform says %d", cs&3, cpu.CPL)
	}
	if size > cpu.XSaveBytes {
		t.Errorf("XSAVE writes %d bytes, platform says %d", size, cpu.XSaveBytes)
	}
}
