package pages

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
)

// Expanded pages lie in slabs: files in memory that are mapped twice, once for
// writing by expand only, once read-only for everybody. A slab is used again after
// the last Blob in it is gone, because fresh pages, and changes of protection, cost
// many times what copying pages does where the host is virtual itself
// (docs/decisions/pages.md, "Why are expanded pages kept in slabs?"). One whose file was handed
// out is not used again: a machine may map it.
const (
	slabUnit = 32 * nodefile.PageSize // slabs are multiples of this
	slabKeep = 128 << 20              // bytes of free slabs that are kept
	// slabPressure is how much is made before the garbage collector, which does
	// not see this memory, is asked to look for Blobs that are gone.
	slabPressure = 128 << 20
)

type slab struct {
	file   *os.File // open for reading only
	rw, ro []byte
	shown  atomic.Bool // the file was handed out
}

var slabs struct {
	mu   sync.Mutex // a leaf
	free map[int][]*slab
	kept int // bytes in free
	made int // bytes since the last collection
}

// takeSlab returns a slab of at least n bytes with any content.
func takeSlab(n int) (*slab, error) {
	size := (n + slabUnit - 1) / slabUnit * slabUnit
	slabs.mu.Lock()
	if list := slabs.free[size]; len(list) > 0 {
		s := list[len(list)-1]
		slabs.free[size] = list[:len(list)-1]
		slabs.kept -= size
		slabs.mu.Unlock()
		return s, nil
	}
	slabs.made += size
	collect := slabs.made > slabPressure
	if collect {
		slabs.made = 0
	}
	slabs.mu.Unlock()
	if collect {
		go runtime.GC()
	}
	return newSlab(size)
}

func newSlab(size int) (_ *slab, err error) {
	fd, err := unix.MemfdCreate("seuss pages", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "seuss pages")
	defer f.Close()
	s := &slab{}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	// What everybody gets cannot be written, neither the mapping nor the file.
	if s.file, err = sealSize(f, uint64(size)); err != nil {
		return nil, err
	}
	if s.rw, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	if s.ro, err = unix.Mmap(int(s.file.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return s, nil
}

func (s *slab) release() {
	for _, mem := range [][]byte{s.rw, s.ro} {
		if mem != nil {
			// Fails only for an address that is not a mapping; nobody is left to tell.
			_ = unix.Munmap(mem)
		}
	}
	if s.file != nil {
		_ = s.file.Close()
	}
}

// Poison fills memory that the next Blobs may be expanded into, for tests of what is
// not written there.
func Poison() error {
	for units := range 4 {
		s, err := takeSlab((units + 1) * slabUnit)
		if err != nil {
			return err
		}
		for i := range s.rw {
			s.rw[i] = 0xee
		}
		defer giveSlab(s)
	}
	return nil
}

// giveSlab takes back what nobody looks at any more.
func giveSlab(s *slab) {
	if s.shown.Load() {
		s.release()
		return
	}
	size := len(s.rw)
	slabs.mu.Lock()
	keep := slabs.kept+size <= slabKeep
	if keep {
		if slabs.free == nil {
			slabs.free = map[int][]*slab{}
		}
		slabs.free[size] = append(slabs.free[size], s)
		slabs.kept += size
	}
	slabs.mu.Unlock()
	if !keep {
		s.release()
	}
}
