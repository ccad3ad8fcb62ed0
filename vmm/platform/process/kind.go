package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"seuss/vmm/internal/demand"
	"seuss/vmm/internal/host"
	"seuss/vmm/platform"
)

// Kind is this platform, as users choose it.
var Kind = &platform.Kind{
	Name:    "process",
	Title:   "process platform",
	Summary: "guests can run as processes, with weaker isolation",
	Instead: "guests run as processes, whose isolation is weaker",
	Rank:    2,
	Requirements: []platform.Requirement{
		{Name: "system call dispatch", Check: func(platform.Host) error { return canDispatch() },
			Fix: "use Linux 5.11 or newer, with CONFIG_GENERIC_ENTRY"},
		{Name: "system call filters", Check: canFilter, Fix: "mount /proc, and use a kernel with CONFIG_SECCOMP_FILTER"},
		{Name: "extended state", Check: func(platform.Host) error { return hasXSave() },
			Fix: "use a processor with XSAVE and a kernel that switches it on"},
		{Name: "memory of children", Check: canTrace, Fix: traceFix},
		{Name: "paging on demand", Check: func(platform.Host) error { return canPage() },
			Fix:     "allow the system call userfaultfd: in a container by its seccomp profile, else by a kernel with CONFIG_USERFAULTFD (Linux 5.11)",
			Without: "snapshots are read before a guest runs: a cold start reads all of them"},
	},
	Exceptions: []platform.Exception{
		{Why: "to start a guest's process: fork, without namespaces, and the stub's program, which is a file in memory",
			Calls:   []string{"execve", "setsid", "close_range", "arch_prctl", "set_tid_address"},
			Checked: []platform.Checked{{Call: "clone", Value: anyNamespace | unix.CLONE_THREAD}}},
		{Why: "its end", Calls: []string{"wait4", "waitid", "pidfd_open", "pidfd_send_signal", "kill"}},
		{Why: "the socket on which it hands its descriptors over",
			Checked: []platform.Checked{{Call: "socketpair", Equal: true, Value: unix.AF_UNIX}}},
		{Why: "what the stub does to itself before its guest runs, and gives up by a filter of its own: namespaces, an empty root, Syscall User Dispatch",
			Calls:   []string{"chroot", "chdir", "seccomp", "pause", "prctl"},
			Checked: []platform.Checked{{Call: "unshare", Equal: true, Value: namespaces}}},
	},
}

// anyNamespace are all flags of clone(2) that make namespaces.
const anyNamespace = namespaces | unix.CLONE_NEWPID | unix.CLONE_NEWTIME

func init() {
	Kind.Open = func(o platform.Options) (platform.Platform, error) {
		p, err := New(Options{Host: o.Host, Guest: o.Guest, NoHugePages: o.NoHugePages})
		if err != nil {
			return nil, err // not p: a nil *Platform in an interface is not nil
		}
		return p, nil
	}
	platform.Register(Kind)
}

const prSysDispatchOff = 0 // PR_SYS_DISPATCH_OFF

// canDispatch asks for Syscall User Dispatch.
func canDispatch() error {
	if err := unix.Prctl(prSetSyscallUserDispatch, prSysDispatchOff, 0, 0, 0); err != nil {
		return fmt.Errorf("the kernel lacks Syscall User Dispatch: %w", err)
	}
	return nil
}

func canFilter(h platform.Host) error {
	if _, err := os.Stat(h.ProcFile("sys/kernel/seccomp/actions_avail")); err != nil {
		return fmt.Errorf("the kernel lacks system call filters: %w", err)
	}
	return nil
}

const traceFix = "set kernel.yama.ptrace_scope to 0 or 1"

// canTrace looks whether anybody may read the memory of its own children. Who may where
// that takes a capability (2), is seen when a guest's process is tried.
func canTrace(h platform.Host) error {
	if scope := traceScope(h); scope > 2 {
		return fmt.Errorf("nobody may look into the memory of another process here (kernel.yama.ptrace_scope is %d)", scope)
	}
	return nil
}

// traceScope is the setting of the Yama security module, 0 where there is none.
func traceScope(h platform.Host) int {
	b, err := os.ReadFile(h.ProcFile("sys/kernel/yama/ptrace_scope"))
	if err != nil {
		return 0
	}
	scope, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return scope
}

func hasXSave() error {
	if xcr0 := host.XCR0(); xcr0&3 != 3 {
		return fmt.Errorf("the processor has no XSAVE, or the kernel does not use it (XCR0 %#x)", xcr0)
	}
	return nil
}

// canPage asks for a userfaultfd as the stub opens it.
func canPage() error {
	fd, err := demand.OpenUser()
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
