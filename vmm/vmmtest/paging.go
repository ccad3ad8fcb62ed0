package vmmtest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// RequirePaging skips a test where the host reports no page faults of guests: what
// it is about does not happen there, since pages are filled before they are mapped.
func RequirePaging(t testing.TB) {
	t.Helper()
	const userModeOnly = 1 // UFFD_USER_MODE_ONLY, linux/userfaultfd.h: what the process platform needs
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK|userModeOnly, 0, 0)
	if errno != 0 {
		t.Skip("skipped where userfaultfd is not allowed:", errno)
	}
	unix.Close(int(fd))
}
