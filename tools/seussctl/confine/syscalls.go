package confine

import (
	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"seuss/vmm/platform/process"
)

// need says what of a daemon's work needs a group of calls.
type need uint8

const (
	always    need = iota
	network        // connections of guests, or spans to a collector
	sockets        // Unix sockets of guests (--vsock-dir)
	processes      // guests as processes: the exceptions of this platform
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

// groups is the filter. What is in none of them fails with EPERM, as execve, ptrace,
// mount, bpf, keyctl, io_uring_setup, setns, unshare and init_module do under KVM.
var groups = []group{
	{always, "memory: Go's heap, guests' memory, snapshots", []string{
		"mmap", "munmap", "mprotect", "madvise", "mremap", "mincore", "brk", "memfd_create", "fallocate", "ftruncate", "userfaultfd"}, nil},
	{always, "threads, their locks and signals, time", []string{
		"futex", "sched_yield", "sched_getaffinity", "set_robust_list", "rseq", "gettid", "getpid", "exit", "exit_group", "restart_syscall",
		"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "tgkill", "nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday", "membarrier"}, nil},
	{always, "a new thread, and nothing but a thread", nil, []seccomp.NameWithConditions{
		when("clone", bits(0, seccomp.BitsSet, unix.CLONE_THREAD), bits(0, seccomp.BitsNotSet, newNamespaces))}},
	{always, "waiting for descriptors", []string{
		"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "pipe2", "poll", "ppoll"}, nil},
	{always, "files, as far as Landlock and their modes allow", []string{
		"openat", "openat2", "close", "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "lseek", "dup", "dup3", "fcntl", "flock",
		"fstat", "newfstatat", "statx", "getdents64", "readlinkat", "faccessat", "faccessat2", "fstatfs", "statfs", "getcwd",
		"mkdirat", "unlinkat", "renameat", "renameat2", "linkat", "symlinkat", "fchmod", "fchmodat", "fchmodat2", "utimensat", "umask",
		"fsync", "fdatasync", "sync_file_range", "fadvise64", "copy_file_range", "sendfile", "splice", "flistxattr", "fgetxattr"}, nil},
	{always, "KVM, userfaultfd, page maps, filters' notifications", []string{"ioctl"}, nil},
	{always, "connections that come in", []string{
		"accept4", "getsockname", "getpeername", "getsockopt", "setsockopt", "recvfrom", "recvmsg", "sendto", "sendmsg", "shutdown"}, nil},
	{always, "randomness, and who and where it is", []string{
		"getrandom", "getuid", "geteuid", "getgid", "getegid", "getppid", "getrusage", "uname", "sysinfo", "getpriority"}, nil},
	{always, "names of its mappings, from Go's runtime", nil, []seccomp.NameWithConditions{when("prctl", bits(0, seccomp.Equal, unix.PR_SET_VMA))}},
	{always, "its own limits, to read and to set", nil, []seccomp.NameWithConditions{when("prlimit64", bits(0, seccomp.Equal, 0))}},

	{network, "connections out: TCP, UDP for names and for which address is its own", []string{"connect", "bind"}, []seccomp.NameWithConditions{
		socket(unix.AF_INET, stream, 0), socket(unix.AF_INET, stream, unix.IPPROTO_TCP), socket(unix.AF_INET, datagram, 0),
		socket(unix.AF_INET6, stream, 0), socket(unix.AF_INET6, stream, unix.IPPROTO_TCP), socket(unix.AF_INET6, datagram, 0)}},
	{network, "the host's addresses, which functions must not reach (rtnetlink)", nil, []seccomp.NameWithConditions{
		socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)}},
	{sockets, "Unix sockets on which host programs reach guests, and guests host ports", []string{"connect", "bind", "listen"},
		[]seccomp.NameWithConditions{socket(unix.AF_UNIX, stream, 0)}},

	{processes, "to start a guest's process: fork, no namespaces, and the stub's program, which is a file in memory (Landlock lets it execute no other)",
		[]string{"execve", "setsid", "chdir", "close_range", "arch_prctl", "set_tid_address"}, []seccomp.NameWithConditions{
			when("clone", bits(0, seccomp.BitsNotSet, newNamespaces|unix.CLONE_THREAD))}},
	{processes, "its end", []string{"wait4", "waitid", "pidfd_open", "pidfd_send_signal", "kill"}, nil},
	{processes, "the socket on which it hands its descriptors over", nil, []seccomp.NameWithConditions{
		when("socketpair", bits(0, seccomp.Equal, unix.AF_UNIX))}},
	{processes, "what it does to itself before its guest runs, then given up by a filter of its own: namespaces, an empty root, Syscall User Dispatch",
		[]string{"chroot", "seccomp", "pause", "prctl"}, []seccomp.NameWithConditions{
			when("unshare", bits(0, seccomp.Equal, process.Namespaces))}},
}

func when(name string, conditions ...seccomp.Condition) seccomp.NameWithConditions {
	return seccomp.NameWithConditions{Name: name, Conditions: conditions}
}

func bits(argument uint32, op seccomp.Operation, value uint64) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: op, Value: value}
}

func socket(family, kind, protocol uint64) seccomp.NameWithConditions {
	return when("socket", bits(0, seccomp.Equal, family), bits(1, seccomp.Equal, kind), bits(2, seccomp.Equal, protocol))
}
