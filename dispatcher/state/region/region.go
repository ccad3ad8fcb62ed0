package region

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
)

// Region is memory that guests share.
type Region struct {
	Owner, Name string
	Function    string // whose instance made it
	Bytes       uint64

	read, write platform.Shared

	// Protected by Host.mu.
	users   int // that map it, or look at it
	removed bool

	pushing chan struct{} // who has it pushes or pulls: kept is his
	kept    kept

	filling sync.Mutex
	filled  uint64 // bytes whose memory is there
	failed  error  // why no more can be had
}

// newRegion makes a file of a size that does not change, without its memory.
func newRegion(owner, function, name string, bytes uint64) (*Region, error) {
	fd, err := unix.MemfdCreate("seuss-region", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "seuss-region")
	const page = guest.PageSize
	if err = f.Truncate(int64((bytes + page - 1) / page * page)); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	var readOnly *os.File
	if err == nil { // a second open file: what it is lent to can map it for nothing else
		readOnly, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Region{Owner: owner, Name: name, Function: function, Bytes: bytes, pushing: make(chan struct{}, 1),
		read: platform.Shared{File: readOnly}, write: platform.Shared{File: f, Writable: true}}, nil
}

// fillUnit is how much memory is taken at once: zeroing it takes a fraction of a millisecond.
const fillUnit = 2 << 20

// fill takes some memory for it, and reports whether there is more to take.
func (r *Region) fill() (more bool, err error) {
	r.filling.Lock()
	defer r.filling.Unlock()
	if r.failed != nil || r.filled == r.Bytes {
		return false, r.failed
	}
	n := min(fillUnit, r.Bytes-r.filled)
	c, err := r.write.File.SyscallConn() // by which it stays open meanwhile, if somebody removes it
	if err == nil {
		if bad := c.Control(func(fd uintptr) {
			for err = unix.EINTR; err == unix.EINTR; {
				err = unix.Fallocate(int(fd), 0, int64(r.filled), int64(n))
			}
		}); bad != nil {
			err = bad
		}
	}
	switch {
	case errors.Is(err, os.ErrClosed):
		return false, fmt.Errorf("it was removed meanwhile: %w", unix.ENOENT)
	case err != nil:
		r.failed = fmt.Errorf("the host has no memory for all of its %d bytes: %w", r.Bytes, err)
		return false, r.failed
	}
	r.filled += n
	return r.filled < r.Bytes, nil
}

func (r *Region) ready() bool {
	r.filling.Lock()
	defer r.filling.Unlock()
	return r.failed == nil && r.filled == r.Bytes
}

// ReadAt and WriteAt are io.ReaderAt and io.WriterAt, beside the guests that map it.
func (r *Region) ReadAt(p []byte, off int64) (int, error) { return r.write.File.ReadAt(p, off) }

// WriteAt refuses to write behind the end.
func (r *Region) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || uint64(off) > r.Bytes || uint64(len(p)) > r.Bytes-uint64(off) {
		return 0, fmt.Errorf("write %d bytes at %d of region %q: it has %d bytes", len(p), off, r.Name, r.Bytes)
	}
	return r.write.File.WriteAt(p, off)
}

func (r *Region) close() {
	_ = r.read.File.Close() // files in memory: there is nothing to lose
	_ = r.write.File.Close()
}
