package process

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/process/stub"
)

// Numbers that golang.org/x/sys/unix lacks: asm-generic/signal.h, linux/prctl.h.
const (
	saSigInfo  = 0x4
	saOnStack  = 0x08000000
	saRestorer = 0x04000000
	saRestart  = 0x10000000
	saNoDefer  = 0x40000000

	prSetSyscallUserDispatch = 59
	prSysDispatchOn          = 1
	seccompModeFilter        = 1 // SECCOMP_SET_MODE_FILTER
	filterNewListener        = 1 << 3
	filterWaitKillable       = 1 << 5 // Linux 5.19: a kick does not end a notification
)

// kickSignal makes a running guest stop.
const kickSignal = unix.SIGUSR1

// scratch is where the monitor puts structures for the stub's set-up calls:
// the place of the extended state, which is not in use yet.
const scratch = stub.Shared + stub.XSaveOffset

// setUp makes a fresh stub ready for its guest and locks it in. Everything that
// the stub does to itself is a list of system calls that is made here.
func (p *proc) setUp(e stub.Entries, m *memory) error {
	memoryEnd := uint64(len(m.window))
	if err := p.call(unix.SYS_MMAP, guest.LowGPA, memoryEnd-guest.LowGPA, guestProt, ownFlags, stub.FDMemory, guest.LowGPA); err != nil {
		return fmt.Errorf("map guest memory: %w", err)
	}
	for _, s := range []unix.Signal{unix.SIGSYS, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, kickSignal} {
		handler := e.Signal
		if s == unix.SIGSYS {
			handler = e.Syscall
		}
		// struct sigaction of the kernel: handler, flags, restorer, mask
		p.scratch(handler, saSigInfo|saOnStack|saRestorer|saRestart|saNoDefer, e.SigReturn, 0)
		if err := p.call(unix.SYS_RT_SIGACTION, uint64(s), scratch, 0, 8); err != nil {
			return fmt.Errorf("handle %v: %w", s, err)
		}
	}
	p.scratch(stub.Shared+stub.SignalOffset, 0, stub.SignalSize) // stack_t
	if err := p.call(unix.SYS_SIGALTSTACK, scratch, 0); err != nil {
		return fmt.Errorf("set the signal stack: %w", err)
	}
	if err := p.unmapRest(memoryEnd); err != nil {
		return err
	}
	if err := m.takePaging(p); err != nil {
		return err
	}
	if err := p.call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := p.call(unix.SYS_PRCTL, prSetSyscallUserDispatch, prSysDispatchOn, stub.Text, stub.TextSize, 0); err != nil {
		return fmt.Errorf("switch Syscall User Dispatch on (Linux 5.11): %w", err)
	}
	return p.lockIn()
}

// unmapRest takes away what the kernel gave the process: stack, vDSO.
func (p *proc) unmapRest(memoryEnd uint64) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid))
	if err != nil {
		return fmt.Errorf("read the stub's mappings: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		from, rest, _ := strings.Cut(line, "-")
		to, _, _ := strings.Cut(rest, " ")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("read the stub's mappings: %q", line)
		}
		switch {
		case end <= memoryEnd, start >= stub.Text && end <= stub.Shared+stub.SharedSize:
			continue
		case start >= 1<<63: // vsyscall: no mapping of the process's own
			continue
		}
		if err := p.call(unix.SYS_MUNMAP, start, end-start); err != nil {
			return fmt.Errorf("unmap %#x-%#x: %w", start, end, err)
		}
	}
	return nil
}

// lockIn installs the filters, takes the notification descriptor out and closes
// what the stub does not need any more.
func (p *proc) lockIn() error {
	flags := uint64(filterNewListener | filterWaitKillable)
	listener, err := p.install(true, flags)
	if err == unix.EINVAL {
		listener, err = p.install(true, filterNewListener)
	}
	if err != nil {
		return fmt.Errorf("install the system call filter: %w", err)
	}
	if p.notify, err = p.takeFD(listener); err != nil {
		return fmt.Errorf("take over the filter's notifications: %w", err)
	}
	p.area.Sealed = 1 // from now on it can park
	if _, err := p.install(false, 0); err != nil {
		return fmt.Errorf("install the second system call filter: %w", err)
	}
	if err := p.call(unix.SYS_CLOSE_RANGE, 0, 1<<32-1, 0); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	return nil
}

// install hands the stub one of the two filters and returns its listener.
func (p *proc) install(notify bool, flags uint64) (int, error) {
	raw, err := filter(notify)
	if err != nil {
		return 0, err
	}
	const program = scratch + 16
	p.scratch(uint64(len(raw)), program) // struct sock_fprog: 16-bit length, pointer
	for i, in := range raw {
		copy(p.mem[program-stub.Shared+8*i:], sockFilter(in))
	}
	p.area.Calls[0] = stub.Call{Number: unix.SYS_SECCOMP, Args: [6]uint64{seccompModeFilter, flags, scratch}}
	if err := p.make(1); err != nil {
		return 0, err
	}
	if r := p.area.Calls[0].Result; r < 0 {
		return 0, unix.Errno(-r)
	}
	return int(p.area.Calls[0].Result), nil
}

// sockFilter encodes struct sock_filter.
func sockFilter(in bpf.RawInstruction) []byte {
	b := make([]byte, 0, 8)
	b = binary.LittleEndian.AppendUint16(b, in.Op)
	b = append(b, in.Jt, in.Jf)
	return binary.LittleEndian.AppendUint32(b, in.K)
}

// takeFD has the stub send one of its descriptors through the socket.
func (p *proc) takeFD(theirs int) (ours int, err error) {
	const (
		iov     = scratch + 64
		control = scratch + 96
		payload = scratch + 128
	)
	put := func(at uint64, words ...uint64) {
		for i, w := range words {
			binary.LittleEndian.PutUint64(p.mem[at-stub.Shared+uint64(8*i):], w)
		}
	}
	put(scratch, 0, 0, iov, 1, control, 24, 0) // struct msghdr
	put(iov, payload, 1)
	put(control, 20, uint64(unix.SCM_RIGHTS)<<32|unix.SOL_SOCKET, uint64(theirs)) // struct cmsghdr
	if err := p.call(unix.SYS_SENDMSG, stub.FDSocket, scratch, 0); err != nil {
		return -1, err
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(p.socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("receive: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("receive: %d messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("receive: %d descriptors, %v", len(fds), err)
	}
	return fds[0], nil
}

// scratch puts words where the stub's set-up calls find them.
func (p *proc) scratch(words ...uint64) {
	for i, w := range words {
		binary.LittleEndian.PutUint64(p.mem[scratch-stub.Shared+8*i:], w)
	}
}
