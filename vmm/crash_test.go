package vmm_test

import (
	"strings"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
)

func TestCrashReport(t *testing.T) {
	b := newBench(t)
	// nop; mov %rax,0x12345678; jmp .
	b.program(0x90, 0x48, 0x89, 0x04, 0x25, 0x78, 0x56, 0x34, 0x12, 0xeb, 0xfe)
	rip := uint64(mailProgram) + 1
	control := vmm.GPA(guest.ControlGPA)
	const fault = 0x500000
	b.setU64(control+guest.ControlFaultGPA, fault)
	if err := b.Memory().WriteStruct(fault, guest.Fault{Signal: 11, TID: 7, Address: 0x12345678, FSBase: 0xf5,
		Frame: guest.Frame{RAX: 0xabcdef, RIP: rip, Vector: 14, Error: 6}}); err != nil {
		t.Fatal(err)
	}
	b.check(b.command(cmdConsole), vmm.StopIdle)
	stop := vmm.Stop{Kind: vmm.StopFault, Code: 11}
	report := b.CrashReport(stop, func(addr uint64) (string, uint64) { return "store_it", addr - uint64(mailProgram) })
	text := report.String()
	t.Log("\n" + text)
	for _, want := range []string{"SIGSEGV: page fault, error code 0x6", "thread 7, address 0x12345678", "in store_it+0x1",
		"=>     401001  4889042578563412", "mov %rax,0x12345678", "0000000000abcdef", "hello!!!"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	// Hostile addresses give a report without code, not a panic.
	for _, rip := range []uint64{0, 1, 4095, 4096, testRAM + testImage - 1, testRAM + testImage, testRAM + testImage + 10, testRAM + testImage + 31, 1 << 63, ^uint64(0), ^uint64(0) - 20} {
		b.setU64(fault+guest.FaultFrame+guest.FrameRIP, rip)
		_ = b.CrashReport(stop, nil).String()
	}
	for _, at := range []uint64{0, ^uint64(0), testRAM + testImage - 8} {
		b.setU64(control+guest.ControlFaultGPA, at)
		b.setU64(control+guest.ControlPanicGPA, at)
		_ = b.CrashReport(stop, nil).String()
		_ = b.CrashReport(vmm.Stop{Kind: vmm.StopPanic}, nil).String()
	}
	b.setU64(control+guest.ControlPanicGPA, 0x600000)
	if err := b.Memory().Write(0x600000, []byte("out of cheese\x00")); err != nil {
		t.Fatal(err)
	}
	if c := b.CrashReport(vmm.Stop{Kind: vmm.StopPanic}, nil).Cause; !strings.Contains(c, "out of cheese") {
		t.Error(c)
	}
}

func TestCrashReportOfComputingGuest(t *testing.T) {
	b := newBench(t)
	b.program(spin...)
	if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
		t.Fatal(err)
	}
	text := ""
	for wait := 5 * time.Millisecond; wait < 20*time.Second; wait *= 2 { // a busy host runs it late
		stop := b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(wait)}), vmm.StopTimeout)
		if text = b.CrashReport(stop, nil).String(); strings.Contains(text, "=>     401000  ebfe") {
			return
		}
	}
	t.Error(text)
}
