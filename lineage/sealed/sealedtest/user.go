package sealedtest

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Nobody is the user of AsNobody.
const Nobody = 65534

// AsNobody calls f as a user without privileges; see AsUser.
func AsNobody(t testing.TB, f func()) {
	t.Helper()
	AsUser(t, Nobody, f)
}

// AsUser calls f as another user, on a thread of its own: what f does itself is done as
// that user, what it starts is not. Where this process cannot become another user the
// test is skipped.
func AsUser(t testing.TB, uid uintptr, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped, only root can become another user")
	}
	done := make(chan syscall.Errno)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, 0, 0, 0},
			{unix.SYS_SETRESGID, uid, uid, uid},
			{unix.SYS_SETRESUID, uid, uid, uid},
		} {
			// Unlike syscall.Setuid these change the calling thread only.
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				done <- errno
				return
			}
		}
		f()
	}()
	if errno, failed := <-done; failed {
		t.Fatalf("become user %d: %v", uid, errno)
	}
}
