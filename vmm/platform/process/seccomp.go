package process

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform/process/stub"
)

// The system call filter of a stub. It has to hold against a guest that jumps
// to any instruction of the stub with any register values.
//
// pause parks: the monitor is told, with the address of the instruction, and
// answers when it is the stub's turn. mmap of files goes through, within guest
// memory and the far window. But files exist only while the stub works off a list of the monitor's,
// with the guest stopped: the monitor lends them for that, and the last call of
// the list closes them. A guest that tries finds a closed descriptor. Whatever
// else a guest calls, kills it.

// Offsets in struct seccomp_data.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16

	archSetGS      = 0x1001     // ARCH_SET_GS, asm/prctl.h
	archSetFS      = 0x1002     // ARCH_SET_FS
	auditArchX8664 = 0xc000003e // AUDIT_ARCH_X86_64
)

// Actions of a filter, include/uapi/linux/seccomp.h.
const (
	actKill   = 0x80000000
	actNotify = 0x7fc00000
	actAllow  = 0x7fff0000
)

// What a page of the guest's own, and a page of a snapshot, are mapped with.
const (
	ownFlags  = unix.MAP_SHARED | unix.MAP_FIXED
	fileFlags = unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_NORESERVE
	guestProt = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC
)

// Calls that the stub makes for ever, and those that it makes while it is set up.
var (
	lastingCalls = []uint32{unix.SYS_RT_SIGRETURN, unix.SYS_GETRUSAGE, unix.SYS_CLOSE_RANGE}
	setupCalls   = []uint32{unix.SYS_SENDMSG, unix.SYS_SECCOMP, unix.SYS_SCHED_YIELD}
)

// filter assembles the filter. The first one notifies and allows the set-up
// calls; the second one, installed on top, takes those away. The strictest
// verdict counts.
func filter(notify bool) ([]bpf.RawInstruction, error) {
	var p []bpf.Instruction
	load := func(off uint32) { p = append(p, bpf.LoadAbsolute{Off: off, Size: 4}) }
	// unless: returns act if the comparison does not hold.
	unless := func(test bpf.JumpTest, value, act uint32) {
		p = append(p, bpf.JumpIf{Cond: test, Val: value, SkipTrue: 1}, bpf.RetConstant{Val: act})
	}
	when := func(value, act uint32) {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipFalse: 1}, bpf.RetConstant{Val: act})
	}
	arg := func(n, half uint32) uint32 { return dataArgs + 8*n + 4*half }
	told := uint32(actAllow)
	if notify {
		told = actNotify
	}

	load(dataArch)
	unless(bpf.JumpEqual, auditArchX8664, actKill)
	load(dataNumber)
	when(unix.SYS_PAUSE, told)
	for _, n := range lastingCalls {
		when(n, actAllow)
	}
	if notify {
		for _, n := range setupCalls {
			when(n, actAllow)
		}
	}
	// The bases of FS and GS, nothing else of arch_prctl.
	p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_ARCH_PRCTL, SkipFalse: 6})
	load(arg(0, 0))
	when(archSetFS, actAllow)
	when(archSetGS, actAllow)
	p = append(p, bpf.RetConstant{Val: actKill})
	unless(bpf.JumpEqual, unix.SYS_MMAP, actKill)
	// mmap: within guest memory, far below the stub, or the far window, far above.
	const highLimit, farHigh, farLength = guest.MaxGiB<<30>>32 - 1, guest.FarBase >> 32, guest.FarBytes >> 32
	load(arg(0, 1))
	p = append(p, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: farHigh, SkipTrue: 6})
	unless(bpf.JumpLessOrEqual, highLimit, actKill)
	load(arg(1, 1))
	unless(bpf.JumpLessOrEqual, highLimit, actKill)
	p = append(p, bpf.Jump{Skip: 5})
	unless(bpf.JumpLessThan, farHigh+farLength, actKill)
	load(arg(1, 1))
	unless(bpf.JumpLessOrEqual, farLength, actKill)
	load(arg(4, 0))
	unless(bpf.JumpGreaterOrEqual, stub.FDWindow, actKill)
	unless(bpf.JumpLessThan, stub.FDWindow+stub.WindowFds, actKill)
	load(arg(3, 0))
	when(ownFlags, actAllow)
	when(fileFlags, actAllow)
	p = append(p, bpf.RetConstant{Val: actKill})

	raw, err := bpf.Assemble(p)
	if err != nil {
		return nil, fmt.Errorf("assemble system call filter: %w", err)
	}
	return raw, nil
}
