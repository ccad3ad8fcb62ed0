package process

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/platform/process/stub"
	"seuss/vmm/vmmtest/testguest"
)

// What a hostile guest can try against its own process. Each attack is machine
// code that the test guest (vmm/vmmtest/testguest) runs.

// Addresses of the test guest: its mailbox, where its code for tests goes.
const (
	mailbox    = 0x400000
	program    = 0x401000
	cmdProgram = 1
	text       = 0x402000 // strings for system calls
)

func testPlatform(t *testing.T) *Platform {
	t.Helper()
	p, err := New(Options{})
	if errors.Is(err, platform.ErrUnavailable) {
		t.Skip("skipped where guests cannot run as processes:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// victim is a machine that rests at its idle doorbell.
type victim struct {
	*vmm.Machine
	t testing.TB
}

func newVictim(t testing.TB, p *Platform) *victim {
	t.Helper()
	m, err := vmm.NewMachine(p, vmm.Config{RAMBytes: 8 << 20, ImageBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(m.Memory().Write(guest.KernelGPA, testguest.Binary), m.ColdBoot(vmm.BootConfig{Args: []string{"x"}})); err != nil {
		t.Fatal(err)
	}
	v := &victim{m, t}
	if stop := v.run(20 * time.Second); stop.Kind != vmm.StopIdle {
		t.Fatalf("the test guest does not boot: %+v", stop)
	}
	return v
}

func (v *victim) proc() *proc { return v.VM().(*VM).proc }

func (v *victim) run(limit time.Duration) vmm.Stop {
	v.t.Helper()
	stop, err := v.Run(vmm.RunOptions{Deadline: time.Now().Add(limit)})
	if err != nil {
		v.t.Fatal(err)
	}
	return stop
}

// attack has the guest run code.
func (v *victim) attack(code []byte) vmm.Stop {
	v.t.Helper()
	return v.attackFor(code, 20*time.Second)
}

func (v *victim) attackFor(code []byte, limit time.Duration) vmm.Stop {
	v.t.Helper()
	if err := errors.Join(v.Memory().Write(program, code), v.Memory().WriteU32(mailbox, cmdProgram)); err != nil {
		v.t.Fatal(err)
	}
	return v.run(limit)
}

// asm is a little assembler.
type asm struct{ bytes.Buffer }

// set loads a register, by its number in the instruction set.
func (a *asm) set(reg byte, value uint64) *asm {
	a.Write([]byte{0x48 | reg>>3, 0xb8 | reg&7})
	a.Write(binary.LittleEndian.AppendUint64(nil, value))
	return a
}

const (
	rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi = 0, 1, 2, 3, 4, 5, 6, 7
	r8, r9, r10, r11                       = 8, 9, 10, 11
)

// store32 stores a word.
func (a *asm) store32(at uint64, value uint32) *asm {
	a.set(rbx, at)
	a.Write([]byte{0xc7, 0x03}) // movl $value, (%rbx)
	a.Write(binary.LittleEndian.AppendUint32(nil, value))
	return a
}

// call loads the registers of a system call and jumps to an address.
func (a *asm) call(to, number uint64, args ...uint64) *asm {
	for i, reg := range []byte{rdi, rsi, rdx, r10, r8, r9} {
		value := uint64(0)
		if i < len(args) {
			value = args[i]
		}
		a.set(reg, value)
	}
	a.set(rax, number).set(r11, to)
	a.Write([]byte{0x41, 0xff, 0xe3}) // jmp *%r11
	return a
}

// spin loops for ever.
func (a *asm) spin() []byte {
	a.Write([]byte{0xeb, 0xfe})
	return a.Bytes()
}

// gates returns the addresses of the stub's system call instructions.
func gates(t *testing.T) []uint64 {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(stub.ELF))
	if err != nil {
		t.Fatal(err)
	}
	code, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	var out []uint64
	for at := 0; ; {
		n := bytes.Index(code[at:], []byte{0x0f, 0x05})
		if n < 0 {
			return out
		}
		out = append(out, stub.Text+uint64(at+n))
		at += n + 2
	}
}

// TestSystemCallsThroughTheStub: a guest that jumps to a system call instruction
// of the stub with registers of its choice is killed, or gets nothing.
func TestSystemCallsThroughTheStub(t *testing.T) {
	p := testPlatform(t)
	ways := gates(t)
	if len(ways) < 4 {
		t.Fatalf("only %d system call instructions found", len(ways))
	}
	me := uint64(os.Getpid())
	calls := map[string][]uint64{
		"open":            {unix.SYS_OPEN, text, unix.O_RDONLY},
		"openat":          {unix.SYS_OPENAT, 1<<64 - 100, text, unix.O_RDWR | unix.O_CREAT, 0o666},
		"socket":          {unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM},
		"execve":          {unix.SYS_EXECVE, text, 0, 0},
		"kill":            {unix.SYS_KILL, me, 9},
		"tgkill":          {unix.SYS_TGKILL, me, me, 9},
		"ptrace":          {unix.SYS_PTRACE, unix.PTRACE_ATTACH, me},
		"read monitor":    {unix.SYS_PROCESS_VM_READV, me, text, 1, text, 1},
		"fork":            {unix.SYS_FORK},
		"clone":           {unix.SYS_CLONE, unix.CLONE_VM},
		"mprotect stub":   {unix.SYS_MPROTECT, stub.Text, stub.TextSize, 7},
		"mprotect memory": {unix.SYS_MPROTECT, mailbox, pageSize, 7},
		"munmap":          {unix.SYS_MUNMAP, stub.Text, stub.TextSize},
		"map over stub":   {unix.SYS_MMAP, stub.Text, pageSize, guestProt, ownFlags, stub.FDMemory, 0x10000},
		"map over area":   {unix.SYS_MMAP, stub.Shared, pageSize, guestProt, ownFlags, stub.FDMemory, 0x10000},
		"map anonymous":   {unix.SYS_MMAP, 0x500000, pageSize, guestProt, unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANONYMOUS, 1<<64 - 1, 0},
		"map much":        {unix.SYS_MMAP, 0x500000, 2 * pageSize, guestProt, ownFlags, stub.FDMemory, 0x500000},
		"map private":     {unix.SYS_MMAP, 0x500000, pageSize, guestProt, fileFlags, stub.FDMemory, 0x500000},
		"dispatch off":    {unix.SYS_PRCTL, prSetSyscallUserDispatch, prSysDispatchOff},
		"another filter":  {unix.SYS_SECCOMP, seccompModeFilter, 0, text},
		"io_uring":        {unix.SYS_IO_URING_SETUP, 1, text},
		"memfd":           {unix.SYS_MEMFD_CREATE, text, 0},
		"sendmsg":         {unix.SYS_SENDMSG, stub.FDSocket, text, 0},
		"write":           {unix.SYS_WRITE, 1, text, 5},
		"arch_prctl":      {unix.SYS_ARCH_PRCTL, 0x1011, 0}, // ARCH_GET_CPUID
		"userfaultfd":     {unix.SYS_USERFAULTFD, 0},
		"32-bit numbers":  {unix.SYS_OPEN | 0x40000000, text, 0}, // x32
		"unknown":         {100000},
		"set_robust_list": {unix.SYS_SET_ROBUST_LIST, text, 24},
		"rt_sigaction":    {unix.SYS_RT_SIGACTION, 11, text, 0, 8},
		"exit_group":      {unix.SYS_EXIT_GROUP, 0},
		"set-up call":     {unix.SYS_SCHED_YIELD},
	}
	made := filepath.Join(t.TempDir(), "made")
	for name, c := range calls {
		for _, gate := range ways {
			v := newVictim(t, p)
			if err := v.Memory().Write(text, append([]byte(made), 0)); err != nil {
				t.Fatal(err)
			}
			var a asm
			stop := v.attack(a.call(gate, c[0], c[1:]...).spin())
			if stop.Kind != vmm.StopCrash {
				t.Errorf("%s at %#x: %v, want a crash", name, gate, stop.Kind)
			}
			if !v.proc().gone() {
				t.Errorf("%s at %#x: the process goes on", name, gate)
			}
			if err := v.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("a guest made a file")
	}
}

// TestClosedDescriptors: mappings of files that the monitor lends are allowed by
// the filter; a guest finds no file to map.
func TestClosedDescriptors(t *testing.T) {
	p := testPlatform(t)
	v := newVictim(t, p)
	for fd := uint64(stub.FDWindow); fd < stub.FDWindow+stub.WindowFds; fd++ {
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", v.proc().pid, fd)); err == nil {
			t.Errorf("descriptor %d is open", fd)
		}
	}
	links, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.proc().pid))
	if err != nil || len(links) != 0 {
		t.Errorf("open descriptors %v, %v; want none", links, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.proc().pid))
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") || !strings.Contains(string(status), "Seccomp:\t2") {
		t.Errorf("not locked in: %v\n%s", err, status)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", v.proc().pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "/memfd:seuss-") && !strings.Contains(line, "[vsyscall]") {
			t.Errorf("mapped besides memory, stub and area: %s", line)
		}
		if strings.Contains(line, "seuss-stub") && strings.Fields(line)[1] != "r-xp" {
			t.Errorf("the stub can be changed: %s", line)
		}
	}
}

// TestForgedTurn: a guest that says it has stopped and runs on gives an answer,
// and no other instance ever gets its machine.
func TestForgedTurn(t *testing.T) {
	v := newVictim(t, testPlatform(t))
	var a asm
	a.store32(stub.Shared+stub.AreaReason, stub.ReasonDevice)
	a.store32(stub.Shared+stub.AreaDeviceOffset, guest.DoorbellIdle)
	a.store32(stub.Shared+stub.AreaTurn, stub.TurnMonitor)
	stop := v.attack(a.spin())
	if stop.Kind != vmm.StopIdle {
		t.Fatalf("%v: the forgery was noticed too early for this test", stop.Kind)
	}
	if err := v.Settle(); !errors.Is(err, errBroken) {
		t.Errorf("a running guest was taken for a stopped one: %v", err)
	}
	if !v.proc().gone() {
		<-v.proc().ended // it was killed
	}
}

// TestNamespaces: a stub shares neither network, mounts, IPC, control groups nor the
// host's name with its monitor, and its root directory is empty.
func TestNamespaces(t *testing.T) {
	p := testPlatform(t)
	if !p.namespaces {
		t.Skip("skipped where the host allows no new namespaces")
	}
	v := newVictim(t, p)
	dir := fmt.Sprintf("/proc/%d/", v.proc().pid)
	for _, kind := range []string{"user", "net", "mnt", "ipc", "cgroup", "uts"} {
		theirs, err := os.Readlink(dir + "ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		if ours, err := os.Readlink("/proc/self/ns/" + kind); err != nil || ours == theirs {
			t.Errorf("the stub is in %s, the monitor in %s (%v)", theirs, ours, err)
		}
	}
	files, err := os.ReadDir(dir + "root/")
	if err != nil || len(files) != 0 {
		t.Errorf("the stub's root directory holds %v (%v)", files, err)
	}
}

// TestForgedSignalled: a guest that says again and again that a signal is under
// way, so that none would be sent, is stopped nevertheless.
func TestForgedSignalled(t *testing.T) {
	v := newVictim(t, testPlatform(t))
	var a asm
	a.store32(stub.Shared+stub.AreaSignalled, 1)
	store := a.Len()
	a.Write([]byte{0xeb, byte(-store - 2)}) // jmp to the start
	if stop := v.attackFor(a.Bytes(), time.Second); stop.Kind != vmm.StopTimeout {
		t.Errorf("the guest ended with %v, not by its deadline", stop.Kind)
	}
}

// TestForgedPark: a guest that parks by itself, with registers and an area of its
// choice, is stopped; what runs in its machine next has nothing of it.
func TestForgedPark(t *testing.T) {
	v := newVictim(t, testPlatform(t))
	state, err := v.Capture()
	if err != nil {
		t.Fatal(err)
	}
	ram := contents(v.Memory())
	v.Memory().HostWritten().Clear()
	entries, err := stub.FindEntries()
	if err != nil {
		t.Fatal(err)
	}
	const secret = 0x5ec4e75ec4e75ec4
	for _, turn := range []uint32{stub.TurnStub, stub.TurnMonitor, stub.TurnParked} {
		var a asm
		for _, at := range []uint64{stub.XSaveOffset - 8, stub.StackOffset - 4096, stub.SignalOffset + 64, stub.SharedSize - 16} {
			a.set(rbx, stub.Shared+at).set(rcx, secret)
			a.Write([]byte{0x48, 0x89, 0x0b}) // mov %rcx, (%rbx)
		}
		a.store32(stub.Shared+stub.AreaSpin+4, 1<<30) // never park by itself
		a.store32(stub.Shared+stub.AreaCommand, stub.CommandRun)
		a.store32(stub.Shared+stub.AreaTurn, turn)
		for reg := byte(0); reg < 16; reg++ {
			a.set(reg, secret)
		}
		a.set(r11, entries.Parked-2-5).set(rsp, program+0x800) // mov $pause,%eax; syscall
		a.Write([]byte{0x41, 0xff, 0xe3})
		v.attack(a.spin())
		if err := v.Settle(); err != nil {
			t.Fatalf("turn %d: %v", turn, err)
		}
		copyBack(v.Memory(), ram)
		if err := v.Restore(state); err != nil {
			t.Fatalf("turn %d: %v", turn, err)
		}
		if bytes.Contains(v.proc().mem, binary.LittleEndian.AppendUint64(nil, secret)) {
			t.Errorf("turn %d: the area still holds what the guest put there", turn)
		}
		if err := v.WriteIdentity(vmm.Identity{}); err != nil {
			t.Fatal(err)
		}
		if stop := v.run(20 * time.Second); stop.Kind != vmm.StopIdle {
			t.Fatalf("turn %d: the next instance does not run: %+v", turn, stop)
		}
		got, err := v.Capture()
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]uint64{"rbx": got.CPU.Regs.RBX, "rbp": got.CPU.Regs.RBP, "r15": got.CPU.Regs.R15} {
			if r == secret {
				t.Errorf("turn %d: %s of the next instance holds the secret", turn, name)
			}
		}
	}
}

func contents(m *vmm.Memory) []byte {
	var out []byte
	for page := range m.Pages() {
		out = append(out, m.Page(page)...)
	}
	return out
}

// copyBack gives memory that was never mapped from a file its old content.
func copyBack(m *vmm.Memory, ram []byte) {
	for page := range m.Pages() {
		was := ram[page*pageSize : (page+1)*pageSize]
		if !bytes.Equal(m.Page(page), was) {
			copy(m.Bytes()[page*pageSize:], was)
		}
	}
}

// TestKilledStub: a stub that something else kills is an error of one run.
func TestKilledStub(t *testing.T) {
	p := testPlatform(t)
	v := newVictim(t, p)
	var a asm
	time.AfterFunc(50*time.Millisecond, v.proc().kill)
	if err := errors.Join(v.Memory().Write(program, a.spin()), v.Memory().WriteU32(mailbox, cmdProgram)); err != nil {
		t.Fatal(err)
	}
	_, err := v.Run(vmm.RunOptions{Deadline: time.Now().Add(20 * time.Second)})
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v, want one that says it was killed", err)
	}
	if err := v.Settle(); err == nil {
		t.Error("a dead machine settles")
	}
	newVictim(t, p) // and others go on
}

// TestFaultsDoNotHideKicks: a guest whose handler faults again, and which takes back what
// the stub would see of a kick, is stopped at its deadline all the same.
func TestFaultsDoNotHideKicks(t *testing.T) {
	v := newVictim(t, testPlatform(t))
	const undefined = 6 // #UD
	gate, err := v.Memory().Slice(guest.IDTGPA+undefined*gateBytes, gateBytes)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(gate, program&0xffff)
	binary.LittleEndian.PutUint16(gate[6:], program>>16)
	v.Memory().MarkWritten(guest.IDTGPA+undefined*gateBytes, gateBytes)
	a := new(asm).store32(stub.Shared+stub.AreaKick, 0)
	a.Write([]byte{0x0f, 0x0b}) // ud2
	if err := errors.Join(v.Memory().Write(program, a.Bytes()), v.Memory().WriteU32(mailbox, cmdProgram)); err != nil {
		t.Fatal(err)
	}
	if stop := v.run(20 * time.Millisecond); stop.Kind != vmm.StopTimeout {
		t.Errorf("stopped with %v", stop.Kind)
	}
}
