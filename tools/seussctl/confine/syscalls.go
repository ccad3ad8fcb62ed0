package confine

import (
	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"seuss/vmm/platform"
)

// need says what of a daemon's work needs a group of calls.
type need uint8

const (
	always  need = iota
	network      // connections of guests, or spans to a collector
	sockets      // Unix sockets of guests (--vsock-dir)
)

// group is some system calls and the reason why they are allowed.
type group struct {
	need  need
	why   string
	names []string
	// With conditions on arguments: all of one entry's, any entry of a name.
	checked []seccomp.NameWithConditions
}

// newNamespaces are all flags of clone(2) that make namespaces.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// Types of sockets as Go asks for them.
const (
	stream   = unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	datagram = unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
)

// groups is the filter, but for what a platform excepts (platform.Exception). What is
// in none of them fails with EPERM: execve, ptrace, mount, bpf, keyctl,
// io_uring_setup, setns, unshare, init_module and hundreds more.
var groups = []group{
	{always, "memory: Go's heap, guests' memory, snapshots", []string{
		"mmap", "munmap", "mprotect", "madvise", "brk", "memfd_create", "fallocate", "ftruncate", "userfaultfd"}, nil},
	{always, "threads, their locks and signals, time", []string{
		"futex", "sched_yield", "sched_getaffinity", "set_robust_list", "rseq", "gettid", "getpid", "exit", "exit_group", "restart_syscall",
		"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "tgkill", "nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday"}, nil},
	{always, "a new thread, and nothing but a thread", nil, []seccomp.NameWithConditions{
		when("clone", bits(0, seccomp.BitsSet, unix.CLONE_THREAD), bits(0, seccomp.BitsNotSet, newNamespaces))}},
	{always, "waiting for descriptors", []string{
		"epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "pipe2", "poll", "ppoll"}, nil},
	{always, "files, as far as Landlock and their modes allow", []string{
		"openat", "close", "read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "dup", "dup3", "fcntl", "flock",
		"fstat", "newfstatat", "statx", "getdents64", "readlinkat", "faccessat", "faccessat2", "fstatfs", "statfs", "getcwd",
		"mkdirat", "unlinkat", "renameat", "linkat", "fchmod", "fchmodat", "fchmodat2",
		"fsync", "fdatasync", "fadvise64", "copy_file_range", "sendfile", "splice"}, nil},
	// Not TIOCSTI and TIOCLINUX, which type into a terminal that the daemon was started
	// in. The kernel looks at the lower half of the request only.
	{always, "KVM, userfaultfd, page maps, filters' notifications", nil, []seccomp.NameWithConditions{
		when("ioctl", bits(1, seccomp.BitsNotSet, 0xffffffff<<32), bits(1, seccomp.NotEqual, unix.TIOCSTI), bits(1, seccomp.NotEqual, unix.TIOCLINUX))}},
	{always, "connections that come in", []string{
		"accept4", "getsockname", "getpeername", "getsockopt", "setsockopt", "recvfrom", "recvmsg", "sendto", "sendmsg", "shutdown"}, nil},
	{always, "randomness, and who and where it is", []string{
		"getrandom", "getuid", "geteuid", "getgid", "getegid", "getppid", "getrusage", "uname", "sysinfo"}, nil},
	{always, "names of its mappings, from Go's runtime", nil, []seccomp.NameWithConditions{when("prctl", bits(0, seccomp.Equal, unix.PR_SET_VMA))}},
	{always, "its own limits, to read and to set", nil, []seccomp.NameWithConditions{when("prlimit64", bits(0, seccomp.Equal, 0))}},

	{network, "connections out: TCP, UDP for names and for which address is its own", []string{"connect", "bind"}, []seccomp.NameWithConditions{
		socket(unix.AF_INET, stream, 0), socket(unix.AF_INET, stream, unix.IPPROTO_TCP), socket(unix.AF_INET, datagram, 0),
		socket(unix.AF_INET6, stream, 0), socket(unix.AF_INET6, stream, unix.IPPROTO_TCP), socket(unix.AF_INET6, datagram, 0)}},
	{network, "the host's addresses, which functions must not reach (rtnetlink)", nil, []seccomp.NameWithConditions{
		socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)}},
	{sockets, "Unix sockets on which host programs reach guests, and guests host ports", []string{"connect", "bind", "listen"},
		[]seccomp.NameWithConditions{socket(unix.AF_UNIX, stream, 0)}},
}

func when(name string, conditions ...seccomp.Condition) seccomp.NameWithConditions {
	return seccomp.NameWithConditions{Name: name, Conditions: conditions}
}

// excepted makes a group of a platform's exception.
func excepted(e platform.Exception) group {
	g := group{why: e.Why, names: e.Calls}
	for _, c := range e.Checked {
		op := seccomp.BitsNotSet
		if c.Equal {
			op = seccomp.Equal
		}
		g.checked = append(g.checked, when(c.Call, bits(c.Argument, op, c.Value)))
	}
	return g
}

func bits(argument uint32, op seccomp.Operation, value uint64) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: op, Value: value}
}

func socket(family, kind, protocol uint64) seccomp.NameWithConditions {
	return when("socket", bits(0, seccomp.Equal, family), bits(1, seccomp.Equal, kind), bits(2, seccomp.Equal, protocol))
}
