package process

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"seuss/guest"
)

const pageSize = guest.PageSize

// source is a file whose pages guests see, kept open and mapped for reading as
// long as any guest does: a snapshot's blob. All machines share it.
type source struct {
	key  sourceKey
	file *os.File
	data []byte
	refs int
}

type sourceKey struct{ dev, ino uint64 }

// sources are a platform's.
type sources struct {
	mu   sync.Mutex
	open map[sourceKey]*source
}

// get returns the source of an open file; release must follow.
func (s *sources) get(f *os.File) (*source, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	key := sourceKey{st.Dev, st.Ino}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.open[key]; known != nil {
		known.refs++
		return known, nil
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("keep %s open: %w", f.Name(), err)
	}
	n := &source{key: key, file: os.NewFile(uintptr(fd), f.Name()), refs: 1}
	if n.data, err = unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		n.file.Close()
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	if s.open == nil {
		s.open = map[sourceKey]*source{}
	}
	s.open[key] = n
	return n, nil
}

// release gives references back.
func (s *sources) release(x *source, refs int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.refs -= refs; x.refs > 0 {
		return nil
	}
	delete(s.open, x.key)
	if err := unix.Munmap(x.data); err != nil {
		return fmt.Errorf("unmap %s: %w", x.file.Name(), err)
	}
	return x.file.Close()
}

// run is a stretch of guest pages that show a file.
type run struct {
	first, count uint64 // pages
	source       *source
	off          int64 // in the file, of the first page
}

func (r *run) end() uint64 { return r.first + r.count }

// part returns the stretch of r within [first, first+count), which must overlap it.
func (r *run) part(first, count uint64) run {
	from, to := max(r.first, first), min(r.end(), first+count)
	return run{from, to - from, r.source, r.off + int64((from-r.first)*pageSize)}
}

// content returns a page's bytes.
func (r *run) content(page uint64) []byte {
	at := uint64(r.off) + (page-r.first)*pageSize
	return r.source.data[at : at+pageSize]
}

// runs are what is mapped below the memfd's pages of a machine: sorted, not overlapping.
type runs []run

// at returns the index of the first run that ends behind page.
func (rs runs) at(page uint64) int {
	i, _ := slices.BinarySearchFunc(rs, page, func(r run, page uint64) int {
		if r.end() <= page {
			return -1
		}
		return 1
	})
	return i
}

// find returns the run that page lies in, nil if there is none.
func (rs runs) find(page uint64) *run {
	if i := rs.at(page); i < len(rs) && rs[i].first <= page {
		return &rs[i]
	}
	return nil
}

// replace puts n, which may be empty of a source, in place of what its pages
// show. It returns the new list and the sources that lost and won references.
func (rs runs) replace(n run) (out runs, lost, won []*source) {
	lo := rs.at(n.first)
	hi := lo
	var middle []run
	for ; hi < len(rs) && rs[hi].first < n.end(); hi++ {
		r := &rs[hi]
		lost = append(lost, r.source)
		if r.first < n.first {
			middle = append(middle, r.part(r.first, n.first-r.first))
			won = append(won, r.source)
		}
	}
	if n.source != nil {
		middle = append(middle, n)
	}
	if hi > lo {
		if r := &rs[hi-1]; r.end() > n.end() {
			middle = append(middle, r.part(n.end(), r.end()-n.end()))
			won = append(won, r.source)
		}
	}
	return slices.Replace(rs, lo, hi, middle...), lost, won
}
