// Package demand pages guest memory in on demand: a page of a file that is filled
// as it is needed becomes one of the guest's when it first touches it
// (userfaultfd(2), Documentation/admin-guide/mm/userfaultfd.rst).
//
// Addresses and lengths are bytes. A Space owns its descriptor. One goroutine of
// the process waits for the faults of all Spaces and answers each on another one;
// its lock is a leaf.
package demand

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"seuss/guest"
)

// Space is the address space of one guest.
type Space struct {
	serve   func(address uint64)
	serving sync.WaitGroup // calls of serve; one begins under waiter.mu only

	mu sync.RWMutex
	fd int // -1: closed
}

// waiter knows the Spaces by descriptor.
var waiter struct {
	mu     sync.Mutex
	epoll  int
	spaces map[int]*Space
}

// New takes over a userfaultfd descriptor, not blocking, and calls serve with the
// page address of each fault, on a goroutine of its own. Whoever faulted waits
// until Wake.
func New(fd int, serve func(address uint64)) (*Space, error) {
	if err := enable(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s := &Space{fd: fd, serve: serve}
	if err := s.add(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return s, nil
}

func (s *Space) add() error {
	waiter.mu.Lock()
	defer waiter.mu.Unlock()
	if waiter.spaces == nil {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return fmt.Errorf("page on demand: %w", os.NewSyscallError("epoll_create1", err))
		}
		waiter.epoll, waiter.spaces = fd, map[int]*Space{}
		go wait(fd)
	}
	if err := unix.EpollCtl(waiter.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}); err != nil {
		return fmt.Errorf("page on demand: %w", os.NewSyscallError("epoll_ctl", err))
	}
	waiter.spaces[s.fd] = s
	return nil
}

// wait runs for as long as the process does.
func wait(epoll int) {
	events := make([]unix.EpollEvent, 16)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && err != unix.EINTR {
			panic(fmt.Sprintf("demand: wait for page faults: %v", err)) // the descriptor is this package's
		}
		for _, e := range events[:max(n, 0)] {
			take(int(e.Fd))
		}
	}
}

func take(fd int) {
	waiter.mu.Lock() // Close waits for it: fd is the Space's
	defer waiter.mu.Unlock()
	s := waiter.spaces[fd]
	if s == nil {
		return
	}
	// An error leaves the fault waiting, and the machine's kick ends that.
	_ = readFaults(fd, func(address uint64) { s.serving.Go(func() { s.serve(address &^ (pageSize - 1)) }) })
}

const pageSize = guest.PageSize

// Register has faults in [start, start+n) reported, where no page is present in
// the file behind. The range must be mapped, and be of files in memory only.
func (s *Space) Register(start, n uint64) error { return register(s.fd, start, n) }

// Wake lets those go on who wait for pages in [start, start+n). They fault again if
// there is still none.
func (s *Space) Wake(start, n uint64) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return nil
	}
	return wake(s.fd, start, n)
}

// Close ends the reporting, and returns when no call of serve is under way. Whoever
// used the address space must be gone: from here on a missing page would be one of
// zeros.
func (s *Space) Close() error {
	waiter.mu.Lock()
	delete(waiter.spaces, s.fd)
	waiter.mu.Unlock()
	s.serving.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	fd := s.fd
	s.fd = -1
	return os.NewSyscallError("close userfaultfd", unix.Close(fd))
}
