package process

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"seuss/vmm/platform/process/stub"
)

// The kernel kills a stub when the thread that started it ends, so that none
// outlives the monitor. Threads of Go come and go; this one stays.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// namespaces are the flags of those that a stub makes for itself. It has nothing to see in them: whatever its own filter
// might let through finds no network, no mount, no IPC, no control group, no host
// name of the host's. A process cannot leave its PID namespace, only its children do.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET |
	unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP

// startStub starts a stub process with its three descriptors.
// ended can be waited for, and is closed by who has: nil where the kernel has no pidfd.
func (p *Platform) startStub(memory, area, socket *os.File) (process *os.Process, ended *os.File, err error) {
	pidfd := -1
	done := make(chan error)
	starter() <- func() {
		attr := &os.ProcAttr{
			Dir: "/", Env: []string{},
			Files: []*os.File{0: nil, 1: nil, 2: nil, stub.FDMemory: memory, stub.FDArea: area, stub.FDSocket: socket},
			Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true, PidFD: &pidfd},
		}
		process, err = os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", p.program.Fd()), []string{processName}, attr)
		done <- err
	}
	if err := <-done; err != nil {
		return nil, nil, fmt.Errorf("start the guest's process: %w", err)
	}
	if pidfd >= 0 && unix.SetNonblock(pidfd, true) == nil { // so that Go's runtime waits for all of them at once
		ended = os.NewFile(uintptr(pidfd), "pidfd")
	}
	return process, ended, nil
}

// awaitEnd returns when a process has ended. A thread for each that waits in the kernel, as
// os.Process.Wait has it, would be a thousand.
func awaitEnd(ended *os.File) {
	if ended == nil {
		return
	}
	defer ended.Close()
	conn, err := ended.SyscallConn()
	if err != nil {
		return
	}
	// An error is that it cannot be polled: then Wait waits.
	_ = conn.Read(func(fd uintptr) bool {
		ready, hangup, err := pollIn(int(fd), 0)
		return ready || hangup || err != nil
	})
}

// memfd creates a shared-memory file whose pages may be executed.
func memfd(name string, bytes int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, where all may be
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("create shared memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(bytes); err != nil {
		f.Close()
		return nil, fmt.Errorf("size shared memory: %w", err)
	}
	return f, nil
}

// programFile puts the stub's program where it can be executed from: under a
// descriptor that is not among those which a starting stub is given.
func programFile() (*os.File, error) {
	f, err := memfd("seuss-stub", 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Write(stub.ELF); err != nil {
		return nil, fmt.Errorf("write the stub's program: %w", err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, stub.FDWindow)
	if err != nil {
		return nil, fmt.Errorf("keep the stub's program: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
