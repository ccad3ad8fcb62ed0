package confine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/api"
	"seuss/vmm/platform"
	_ "seuss/vmm/platform/all"
)

// tryVariable makes the test's program one that confines itself and then tries what
// it must not be able to do.
const tryVariable = "SEUSS_TEST_TRY"

// justWait makes it one that waits for the end of its input.
const justWait = "wait"

func TestMain(m *testing.M) {
	switch text := os.Getenv(tryVariable); text {
	case "":
	case justWait:
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	default:
		if err := attempt(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// task is what the confined program is told.
type task struct {
	Options Options
	Needs   Needs
	Outside string // a directory that it must not see
	Port    int    // a TCP port that it must not reach
	Parent  int
}

// outcome is what came of it: errno by attempt, "" for success.
type outcome struct {
	Errors   map[string]string
	Measures []api.Measure
}

func attempt(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	c, err := Enter(t.Options)
	if err != nil {
		return err
	}
	c.Seal(t.Needs)
	out := outcome{Errors: map[string]string{}, Measures: c.Measures()}
	for name, f := range attempts(t) {
		if err := f(); err != nil {
			out.Errors[name] = err.Error()
		} else {
			out.Errors[name] = ""
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// call makes a system call with arguments that would do no harm if it went through.
func call(number uintptr, args ...uintptr) func() error {
	return func() error {
		var a [6]uintptr
		copy(a[:], args)
		_, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return errno
		}
		return nil
	}
}

// stubNamespaces are the flags that the process platform's exceptions name.
func stubNamespaces() uintptr {
	for _, e := range platform.Find("process").Exceptions {
		for _, c := range e.Checked {
			if c.Call == "unshare" {
				return uintptr(c.Value)
			}
		}
	}
	return 0
}

// canPage asks for what virtual machines page on demand by.
func canPage() error {
	for _, r := range platform.Find("kvm").Requirements {
		if r.Name == "paging on demand" {
			return r.Check(platform.Host{})
		}
	}
	return errors.New("no such requirement")
}

// machine makes a machine of a platform, of KVM's if it has no name, and lets it go.
func machine(name string) (err error) {
	p, err := platform.Find(cmp.Or(name, "kvm")).Open(platform.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	vm, err := p.NewVM()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vm.Close()) }()
	mem, err := vm.NewMemory(4<<20, false)
	if err != nil {
		return err
	}
	return mem.Close()
}

// forked makes a process with flags of clone(2), which ends at once.
func forked(flags uintptr) func() error {
	return func() error {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		if pid == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		return nil
	}
}

// short is an error's errno alone.
func short(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func attempts(t task) map[string]func() error {
	open := func(path string, flags int) func() error {
		return func() error {
			f, err := os.OpenFile(path, flags, 0o600)
			if err != nil {
				return short(err)
			}
			return f.Close()
		}
	}
	socket := func(family, kind, protocol int) func() error {
		return func() error {
			fd, err := unix.Socket(family, kind, protocol)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}
	}
	inside := filepath.Join(t.Options.StateDir, "file")
	parent := "/proc/" + strconv.Itoa(t.Parent)
	return map[string]func() error{
		// What it needs goes through.
		"write inside": open(inside, os.O_CREATE|os.O_RDWR),
		"rename inside": func() error {
			if err := os.MkdirAll(filepath.Join(t.Options.StateDir, "sub"), 0o700); err != nil {
				return short(err)
			}
			if err := os.WriteFile(inside+"2", nil, 0o600); err != nil {
				return short(err)
			}
			return short(os.Rename(inside+"2", filepath.Join(t.Options.StateDir, "sub", "file2")))
		},
		"temporary file": func() error {
			f, err := os.CreateTemp("", "try")
			if err != nil {
				return short(err)
			}
			return f.Close()
		},
		"new thread": func() error {
			for range 20 {
				done := make(chan bool)
				go func() {
					var s unix.Timespec
					unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, &s)
					close(done)
				}()
				<-done
			}
			return nil
		},
		"own status":       open("/proc/self/status", os.O_RDONLY),
		"paging on demand": canPage,
		"a machine":        func() error { return machine(t.Needs.Platform) },

		"execute a program": func() error { return short(exec.Command("/bin/true").Run()) },
		"execute a program of its own": func() error {
			path := filepath.Join(t.Options.StateDir, "program")
			b, err := os.ReadFile("/proc/self/exe")
			if err == nil {
				err = os.WriteFile(path, b, 0o700)
			}
			if err != nil {
				return fmt.Errorf("prepare: %w", err)
			}
			return short(exec.Command(path).Run())
		},
		"fork":                        forked(0),
		"fork with a user namespace":  forked(unix.CLONE_NEWUSER),
		"fork with a mount namespace": forked(unix.CLONE_NEWNS),
		"clone3":                      call(unix.SYS_CLONE3),
		"a user namespace":            call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
		"a stub's namespaces":         call(unix.SYS_UNSHARE, stubNamespaces()),
		"another namespace":           call(unix.SYS_SETNS, ^uintptr(0), 0),

		"read outside":       open(filepath.Join(t.Outside, "file"), os.O_RDONLY),
		"list outside":       func() error { _, err := os.ReadDir(t.Outside); return short(err) },
		"write outside":      open(filepath.Join(t.Outside, "new"), os.O_CREATE|os.O_WRONLY),
		"remove outside":     func() error { return short(os.Remove(filepath.Join(t.Outside, "file"))) },
		"truncate outside":   func() error { return short(os.Truncate(filepath.Join(t.Outside, "file"), 0)) },
		"link from outside":  func() error { return short(os.Link(filepath.Join(t.Outside, "file"), inside+"3")) },
		"read the password":  open("/etc/passwd", os.O_RDONLY),
		"change the kernel":  open("/proc/sys/kernel/core_pattern", os.O_WRONLY),
		"another's memory":   open(parent+"/mem", os.O_RDONLY),
		"another's secrets":  open(parent+"/environ", os.O_RDONLY),
		"change the owner":   func() error { return short(os.Chown(inside, 1, 1)) },
		"change the root":    call(unix.SYS_CHROOT, 0),
		"open by handle":     call(unix.SYS_OPEN_BY_HANDLE_AT),
		"mount":              func() error { return unix.Mount("none", t.Options.StateDir, "tmpfs", 0, "") },
		"new mount":          call(unix.SYS_FSOPEN),
		"pivot_root":         call(unix.SYS_PIVOT_ROOT),
		"trace another":      func() error { return unix.PtraceSeize(t.Parent) },
		"read another":       call(unix.SYS_PROCESS_VM_READV, uintptr(t.Parent)),
		"take a descriptor":  call(unix.SYS_PIDFD_GETFD, ^uintptr(0)),
		"signal another":     func() error { return unix.Kill(t.Parent, 0) },
		"bpf":                call(unix.SYS_BPF, 0, 0, 0),
		"keyctl":             call(unix.SYS_KEYCTL),
		"add_key":            call(unix.SYS_ADD_KEY),
		"io_uring":           call(unix.SYS_IO_URING_SETUP),
		"perf events":        call(unix.SYS_PERF_EVENT_OPEN),
		"kernel module":      call(unix.SYS_INIT_MODULE),
		"another kernel":     call(unix.SYS_KEXEC_LOAD),
		"reboot":             call(unix.SYS_REBOOT),
		"the clock":          call(unix.SYS_CLOCK_SETTIME, 99),
		"the host's name":    call(unix.SYS_SETHOSTNAME, 0, 1<<20),
		"personality":        call(unix.SYS_PERSONALITY, 0xffffffff),
		"segments":           call(unix.SYS_MODIFY_LDT),
		"ports":              call(unix.SYS_IOPL),
		"the kernel's log":   call(unix.SYS_SYSLOG, 10),
		"type":               call(unix.SYS_IOCTL, ^uintptr(0), unix.TIOCSTI),
		"type, disguised":    call(unix.SYS_IOCTL, ^uintptr(0), 1<<32|unix.TIOCSTI),
		"paste":              call(unix.SYS_IOCTL, ^uintptr(0), unix.TIOCLINUX),
		"watch the disk":     call(unix.SYS_FANOTIFY_INIT),
		"another's limits":   func() error { return unix.Prlimit(t.Parent, unix.RLIMIT_NOFILE, nil, &unix.Rlimit{}) },
		"packets":            socket(unix.AF_PACKET, unix.SOCK_RAW, 0),
		"raw IP":             socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		"kernel crypto":      socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0),
		"host's vsock":       socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0),
		"multipath TCP":      socket(unix.AF_INET, stream, unix.IPPROTO_MPTCP),
		"firewall's netlink": socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER),
		"a Unix socket":      socket(unix.AF_UNIX, stream, 0),
		"connect": func() error {
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(t.Port)))
			if err != nil {
				return short(err)
			}
			return c.Close()
		},
		"listen": func() error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return short(err)
			}
			return l.Close()
		},
	}
}

// confined has a program of this test's confine itself and try.
func confined(t *testing.T, change func(*task)) outcome {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	work := task{Options: Options{StateDir: filepath.Join(t.TempDir(), "state"), Bind: []uint16{1}}, Outside: t.TempDir(),
		Port: l.Addr().(*net.TCPAddr).Port, Parent: os.Getpid()}
	if err := os.WriteFile(filepath.Join(work.Outside, "file"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(work.Outside), 0o711); err != nil { // for another user
		t.Fatal(err)
	}
	if change != nil {
		change(&work)
	}
	text, err := json.Marshal(work)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), tryVariable+"="+string(text))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var out outcome
	if err := json.Unmarshal(answer, &out); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	if b, err := os.ReadFile(filepath.Join(work.Outside, "file")); string(b) != "secret" {
		t.Errorf("the file outside: %q, %v", b, err)
	}
	return out
}

// inForce says whether a measure is, and why not.
func (o outcome) inForce(t *testing.T, name string) bool {
	t.Helper()
	i := slices.IndexFunc(o.Measures, func(m api.Measure) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no measure %q in %+v", name, o.Measures)
	}
	if m := o.Measures[i]; !m.InForce {
		t.Logf("%s is not in force: %s", name, m.Detail)
		return false
	}
	return true
}

// Attempts by who refuses them. What neither names is refused by the filter.
var (
	succeeds = []string{"write inside", "rename inside", "temporary file", "new thread", "own status"}
	// Landlock's: the filter allows the calls.
	byLandlock = []string{"read outside", "list outside", "write outside", "remove outside", "truncate outside", "link from outside", "read the password", "change the kernel",
		"another's memory", "another's secrets"}
)

func TestConfinedDaemon(t *testing.T) {
	for _, c := range []struct {
		name   string
		needs  Needs
		change func(*task)
		// What this daemon may do besides, and what Landlock refuses in the filter's place.
		succeeds, landlock []string
	}{
		{name: "virtual machines"},
		{name: "processes", needs: Needs{Platform: "process"},
			// "a stub's namespaces" is refused to a program of several threads (unshare(2)).
			succeeds: []string{"fork"},
			landlock: []string{"execute a program", "execute a program of its own", "signal another"}},
		{name: "network", needs: Needs{Network: true}, change: func(w *task) { w.Options.Network, w.Options.Connect = true, []uint16{443} },
			landlock: []string{"connect", "listen"}},
		{name: "another user", change: func(w *task) { w.Options.User = "nobody" }},
		{name: "sockets", needs: Needs{Sockets: true}, succeeds: []string{"a Unix socket"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := user.Lookup("nobody"); c.name == "another user" && (os.Getuid() != 0 || err != nil) {
				t.Skip("skipped: only root becomes another user, where there is a user nobody")
			}
			pages, machines := canPage() == nil, c.name != "another user" && machine(c.needs.Platform) == nil
			out := confined(t, func(w *task) {
				w.Needs = c.needs
				if c.change != nil {
					c.change(w)
				}
			})
			landlocked, filtered := out.inForce(t, "Landlock"), out.inForce(t, "system call filter")
			if !out.inForce(t, "no new privileges") {
				t.Error("new privileges can be had")
			}
			for name, got := range out.Errors {
				if strings.HasPrefix(got, "prepare") {
					t.Errorf("%s: %s", name, got)
				}
				in := func(lists ...[]string) bool {
					return slices.ContainsFunc(lists, func(l []string) bool { return slices.Contains(l, name) })
				}
				want := []string{unix.EPERM.Error()}
				switch {
				case in(succeeds, c.succeeds):
					want = []string{""}
				case in(byLandlock, c.landlock):
					if !landlocked {
						continue
					}
					want = append(want, unix.EACCES.Error(), unix.EXDEV.Error())
				case name == "a stub's namespaces" && c.needs.Platform == "process":
					want = []string{unix.EINVAL.Error()}
				case name == "change the root" && c.needs.Platform == "process":
					want = []string{unix.EFAULT.Error(), unix.EPERM.Error()}
				case name == "a machine":
					if !machines {
						continue
					}
					want = []string{""}
				case name == "paging on demand":
					if !pages {
						continue
					}
					want = []string{""}
				case !filtered:
					continue
				case name == "clone3":
					want = []string{unix.ENOSYS.Error()}
				}
				if !slices.Contains(want, got) {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestFilterNamesWhatIsNeeded: each group has a reason, each filter can be put together, and what
// gives away the host is in none.
func TestFilterNamesWhatIsNeeded(t *testing.T) {
	for n := range 8 {
		needs := Needs{Network: n&1 != 0, Sockets: n&2 != 0, Platform: []string{"", "process"}[n>>2]}
		p := policy(needs)
		if _, err := p.Assemble(); err != nil {
			t.Fatalf("%+v: %v", needs, err)
		}
		all := slices.Clone(p.Syscalls[0].Names)
		for _, c := range p.Syscalls[0].NamesWithCondtions {
			all = append(all, c.Name)
		}
		never := []string{"ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2", "fsopen", "pivot_root", "bpf", "keyctl", "add_key", "request_key",
			"io_uring_setup", "perf_event_open", "setns", "init_module", "finit_module", "kexec_load", "open_by_handle_at", "setuid", "setresuid", "capset", "clone3", "chown", "fchownat"}
		if needs.Platform == "" {
			never = append(never, "execve", "execveat", "unshare", "chroot", "seccomp", "kill", "socketpair")
		}
		if !needs.Network && !needs.Sockets {
			never = append(never, "socket", "connect", "bind", "listen")
		}
		for _, name := range never {
			if slices.Contains(all, name) {
				t.Errorf("%+v: %s is allowed", needs, name)
			}
		}
	}
	for _, g := range append(Needs{Platform: "process"}.groups(), groups...) {
		if g.why == "" {
			t.Errorf("no reason for %v", g.names)
		}
	}
}
