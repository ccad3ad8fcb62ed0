package region

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/state"
	"seuss/vmm"
)

// A window is a region that the host alone writes to: values of a share, which guests read
// without asking (state.Window). Its name has a character that no key has, so it is none's region.
const (
	windowMark = ShareMark + "\x01"
	// noWindow is what an instance maps whose function may not read the share any more. No guest
	// can name it: it has a slash.
	noWindow = "/none"
)

func isWindow(name string) bool { return strings.HasSuffix(name, windowMark) }

// window is the host's side of one.
type window struct {
	h      *Host
	r      *Region
	memory []byte
}

// Window opens the window of an owner's share: it is state.Options.Window.
func (h *Host) Window(owner, share string) (state.Window, error) {
	r, err := h.find(owner, "", share+windowMark, state.WindowBytes, false)
	if err != nil {
		return nil, err
	}
	if !h.take(r) {
		return nil, fmt.Errorf("the window of %q: %w", share, unix.EAGAIN)
	}
	for more := true; more; { // in one step: it is less than a unit
		if more, err = r.fill(); err != nil {
			break
		}
	}
	var memory []byte
	if err == nil {
		memory, err = unix.Mmap(int(r.write.File.Fd()), 0, state.WindowBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		err = os.NewSyscallError("mmap", err)
	}
	if err != nil {
		(&window{h, r, nil}).Close()
		return nil, err
	}
	return &window{h, r, memory}, nil
}

func (w *window) Memory() []byte { return w.memory }

func (w *window) Idle() bool {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	return w.r.users <= 1
}

func (w *window) Close() {
	_ = unix.Munmap(w.memory) // it is one
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	w.h.remove(w.r)
	w.r.users--
	w.h.drop(w.r)
}

// window is Map of one: it is there whenever it is wanted, empty where nothing was shown yet. It
// counts as mapped by what it is, and not by what a guest calls it, who may call it many things.
func (s *Set) window(name string) (vmm.Region, error) {
	if !state.ValidShare(strings.TrimSuffix(name, windowMark)) {
		return vmm.Region{}, fmt.Errorf("it is no window of a share: %w", unix.EINVAL)
	}
	owner, is := s.owner, name
	if s.rights(name) == None {
		owner, is = "", noWindow
	}
	r, err := s.take(owner, "", is, state.WindowBytes)
	if errors.Is(err, ErrQuota) { // it reads without one, and need not fail
		r, err = s.take("", "", noWindow, state.WindowBytes)
	}
	if err != nil {
		return vmm.Region{}, err
	}
	return s.offered(r, Read), nil
}
