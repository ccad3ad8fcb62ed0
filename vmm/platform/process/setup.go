package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform/process/stub"
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

// processName is what ps and top show of a stub, at most 15 bytes.
const processName = "seuss-guest"

// kickSignal makes a running guest stop.
const kickSignal = unix.SIGUSR1

// scratch is where the monitor puts structures for the stub's set-up calls:
// the place of the extended state, which is not in use yet.
const scratch = stub.Shared + stub.XSaveOffset

// setUp makes a fresh stub ready for its guest and locks it in. Everything that
// the stub does to itself is a list of system calls that is made here.
func (p *proc) setUp(of *Platform, m *memory) error {
	memoryEnd := uint64(len(m.window))
	l := list{p: p}
	if of.namespaces {
		// Not by way of the flags of clone: a new user namespace among them has
		// Go copy the monitor's page tables for the child.
		l.add("leave the host's namespaces", unix.SYS_UNSHARE, namespaces)
		// Nor are there files: the root is a directory that holds nothing once the
		// stub has closed its descriptors, and ends with the process.
		l.add("leave the host's files", unix.SYS_CHROOT, l.text("/proc/self/fdinfo"))
		l.add("leave the host's files", unix.SYS_CHDIR, l.text("/"))
	}
	if of.small {
		l.add("use ordinary pages only", unix.SYS_PRCTL, unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)
	}
	l.add("name the process", unix.SYS_PRCTL, unix.PR_SET_NAME, l.text(processName), 0, 0, 0)
	l.add("map guest memory", unix.SYS_MMAP, guest.LowGPA, memoryEnd-guest.LowGPA, guestProt, ownFlags, stub.FDMemory, guest.LowGPA)
	for _, s := range []unix.Signal{unix.SIGSYS, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, kickSignal} {
		handler := of.entries.Signal
		if s == unix.SIGSYS {
			handler = of.entries.Syscall
		}
		// struct sigaction of the kernel: handler, flags, restorer, mask
		action := l.put(handler, saSigInfo|saOnStack|saRestorer|saRestart|saNoDefer, of.entries.SigReturn, 0)
		l.add("handle signals", unix.SYS_RT_SIGACTION, uint64(s), action, 0, 8)
	}
	stack := l.put(stub.Shared+stub.SignalOffset, 0, stub.SignalSize) // stack_t
	l.add("set the signal stack", unix.SYS_SIGALTSTACK, stack, 0)
	if err := l.run(); err != nil {
		return err
	}
	if err := m.takePaging(&l); err != nil {
		return err
	}
	if err := p.unmapRest(&l, memoryEnd); err != nil {
		return err
	}
	l.add("give up new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	l.add("switch Syscall User Dispatch on (Linux 5.11)", unix.SYS_PRCTL, prSetSyscallUserDispatch, prSysDispatchOn, stub.Text, stub.TextSize, 0)
	if err := l.run(); err != nil {
		return err
	}
	return p.lockIn(&l, of)
}

// list collects system calls for the stub to make in one turn, and structures
// for them, while there is no extended state of a guest in their place.
type list struct {
	p     *proc
	whats []string
	used  uint64 // bytes of scratch
}

// add adds a call; what says what it is for, if it fails.
func (l *list) add(what string, number uint64, args ...uint64) {
	c := stub.Call{Number: number}
	copy(c.Args[:], args)
	l.p.area.Calls[len(l.whats)] = c
	l.whats = append(l.whats, what)
}

// put places a structure of 64-bit words and returns its address in the stub.
func (l *list) put(words ...uint64) (at uint64) {
	at = scratch + l.used
	for _, w := range words {
		binary.LittleEndian.PutUint64(l.p.mem[scratch-stub.Shared+l.used:], w)
		l.used += 8
	}
	return at
}

// text places a string and its zero.
func (l *list) text(s string) (at uint64) {
	at = l.put(make([]uint64, len(s)/8+1)...)
	copy(l.p.mem[at-stub.Shared:], s)
	return at
}

// run has the calls made. The first that failed is the error.
func (l *list) run() error {
	n, whats := len(l.whats), l.whats
	l.whats, l.used = l.whats[:0], 0
	if err := l.p.make(n); err != nil {
		return err
	}
	for i, what := range whats[:n] {
		if r := l.p.area.Calls[i].Result; r < 0 && r > -4096 {
			return fmt.Errorf("%s: %w", what, unix.Errno(-r))
		}
	}
	return nil
}

// unmapRest takes away what the kernel gave the process: stack, vDSO.
func (p *proc) unmapRest(l *list, memoryEnd uint64) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid))
	if err != nil {
		return fmt.Errorf("read the stub's mappings: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		from, rest, _ := strings.Cut(line, "-")
		to, _, _ := strings.Cut(rest, " ")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil || len(l.whats) > stub.Calls/2 {
			return fmt.Errorf("read the stub's mappings: %q", line)
		}
		switch {
		case end <= memoryEnd, start >= stub.Text && end <= stub.Shared+stub.SharedSize:
			continue
		case start >= 1<<63: // vsyscall: no mapping of the process's own
			continue
		}
		l.add("unmap what the kernel gave the process", unix.SYS_MUNMAP, start, end-start)
	}
	return nil
}

// lockIn installs the filters, takes the notification descriptor out and closes
// what the stub does not need any more.
func (p *proc) lockIn(l *list, of *Platform) error {
	l.install(of.filters[0], filterNewListener|filterWaitKillable)
	err := l.run()
	if errors.Is(err, unix.EINVAL) {
		l.install(of.filters[0], filterNewListener)
		err = l.run()
	}
	if err != nil {
		return err
	}
	if p.notify, err = p.takeFD(l, int(p.area.Calls[0].Result)); err != nil {
		return fmt.Errorf("take over the filter's notifications: %w", err)
	}
	p.canWakeHere = p.setWake(true) == nil
	p.area.Sealed = 1 // from now on it can park
	l.install(of.filters[1], 0)
	l.add("close descriptors", unix.SYS_CLOSE_RANGE, 0, 1<<32-1, 0)
	return l.run()
}

// install adds the installation of a filter.
func (l *list) install(filter []byte, flags uint64) {
	const head = 16 // struct sock_fprog: 16-bit length, pointer
	program := l.put(uint64(len(filter)/8), scratch+l.used+head)
	copy(l.p.mem[scratch-stub.Shared+l.used:], filter)
	l.used += uint64(len(filter))
	l.add("install the system call filter", unix.SYS_SECCOMP, seccompModeFilter, flags, program)
}

// filters assembles the two filters, as arrays of struct sock_filter.
func filters() (f [2][]byte, err error) {
	for i := range f {
		raw, err := filter(i == 0)
		if err != nil {
			return f, err
		}
		for _, in := range raw {
			f[i] = append(f[i], sockFilter(in)...)
		}
	}
	return f, nil
}

// sockFilter encodes struct sock_filter.
func sockFilter(in bpf.RawInstruction) []byte {
	b := make([]byte, 0, 8)
	b = binary.LittleEndian.AppendUint16(b, in.Op)
	b = append(b, in.Jt, in.Jf)
	return binary.LittleEndian.AppendUint32(b, in.K)
}

// takeFD has the stub send one of its descriptors through the socket.
func (p *proc) takeFD(l *list, theirs int) (ours int, err error) {
	payload := l.put(0)
	iov := l.put(payload, 1)
	control := l.put(20, uint64(unix.SCM_RIGHTS)<<32|unix.SOL_SOCKET, uint64(theirs)) // struct cmsghdr
	message := l.put(0, 0, iov, 1, control, 24, 0)                                    // struct msghdr
	l.add("send a descriptor", unix.SYS_SENDMSG, stub.FDSocket, message, 0)
	if err := l.run(); err != nil {
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
