package pages

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
)

// The pages of a Store that was opened with VerifyDemand stay in their files until
// somebody needs them. What users see of such a Blob is a file in memory: Fill reads
// a page from the node's file, compares it with its checksum, and puts it there. So
// a page that is not right is never in it, whatever happens to the disk later, and
// all machines of the process share what is.
//
// A hole of that file must not be read: the kernel would make it a page of zeros.

// fillLocks are the locks that order the filling of one Blob: each is for every so
// manyth stretch of lockPages.
const (
	fillLocks = 32
	lockPages = 16
)

// pageSource is where a paged Blob's pages come from.
type pageSource struct {
	file   *os.File // of the store
	offset int64
	into   *os.File // the Blob's file, open for writing
	locks  [fillLocks]sync.Mutex
}

func (b *pageSource) release() {
	_ = b.file.Close()
	_ = b.into.Close()
}

// newPagedBlob is newBlob of pages that are filled when they are needed.
func newPagedBlob(name string, file *os.File, offset int64, x *nodefile.Index) (*Blob, error) {
	b, err := newBlobOver(name, file, offset, x, x.DataPages*nodefile.PageSize)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("map blob %s: %w", name, err)
	}
	return b, nil
}

// newBlobOver makes a Blob of a file in memory of this size, in which no page is yet.
func newBlobOver(name string, file *os.File, offset int64, x *nodefile.Index, size uint64) (*Blob, error) {
	if err := checkExtent(file, offset, x.DataPages); err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("seuss pages "+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	into := os.NewFile(uintptr(fd), "seuss pages "+name)
	shown, err := sealSize(into, size)
	if err != nil {
		into.Close()
		return nil, err
	}
	blob, err := newBlob(name, shown, 0, x) // owns shown
	if err != nil {
		into.Close()
		return nil, err
	}
	blob.source = &pageSource{file: file, offset: offset, into: into}
	runtime.AddCleanup(blob, (*pageSource).release, blob.source)
	return blob, nil
}

// sealSize gives a file in memory its size for ever, and opens it for reading.
func sealSize(f *os.File, size uint64) (*os.File, error) {
	if err := f.Truncate(int64(size)); err != nil {
		return nil, fmt.Errorf("memory of %d bytes: %w", size, err)
	}
	if err := f.Chmod(sealed.Mode); err != nil {
		return nil, fmt.Errorf("memory of %d bytes: %w", size, err)
	}
	const seals = unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal the size of memory: %w", err)
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
}

// Paged reports whether the Blob's pages have to be filled before they are looked
// at: see Fill.
func (b *Blob) Paged() bool { return b.source != nil }

// Filled reports whether count pages from first on are there, or were compared with their
// checksums before.
func (b *Blob) Filled(first, count uint64) bool {
	if b.unchecked.Load() == 0 {
		return true
	}
	for page := first; page < first+count; page++ {
		if !b.isChecked(page) {
			return false
		}
	}
	return true
}

// Fill makes sure that count pages from first on are there and right. It may be
// called from any goroutine. The error is a *PageError that names node and guest
// page, or that of reading; then some of the pages may be missing, and none is wrong.
// It panics if the pages are not below Pages.
func (b *Blob) Fill(first, count uint64) error { return b.Check(first, count) }

// fillRun is Check's part of pages that are not there.
func (b *Blob) fillRun(first, count uint64) error {
	for end := first + count; first < end; {
		n := min(lockPages-first%lockPages, end-first)
		if err := b.fillSome(first, n); err != nil {
			return err
		}
		first += n
	}
	runtime.KeepAlive(b)
	return nil
}

// fillBuffers hold what is between file and memory.
var fillBuffers = sync.Pool{New: func() any { return new([lockPages * nodefile.PageSize]byte) }}

// fillSome fills pages of one stretch.
func (b *Blob) fillSome(first, count uint64) error {
	s := b.source
	lock := &s.locks[first/lockPages%fillLocks]
	lock.Lock()
	defer lock.Unlock()
	buf := fillBuffers.Get().(*[lockPages * nodefile.PageSize]byte)
	defer fillBuffers.Put(buf)
	for end := first + count; first < end; {
		n := uint64(0)
		for first+n < end && !b.isChecked(first+n) {
			n++
		}
		if n == 0 {
			first++
			continue
		}
		data := buf[:n*nodefile.PageSize]
		if got, err := s.file.ReadAt(data, s.offset+int64(first*nodefile.PageSize)); got < len(data) {
			return fmt.Errorf("read pages %d+%d %s: got %d of %d bytes: %w", first, n, b.name, got, len(data), nodefile.NoEOF(err))
		}
		// What is right before a page that is not, is used.
		right, bad := n, error(nil)
		for i := range n {
			if why := nodefile.Mismatch(data[i*nodefile.PageSize:(i+1)*nodefile.PageSize], b.index.Sums[first+i]); why != "" {
				right, bad = i, b.pageError(first+i, why)
				break
			}
		}
		if _, err := s.into.WriteAt(data[:right*nodefile.PageSize], int64(first*nodefile.PageSize)); err != nil {
			return fmt.Errorf("keep pages %d+%d %s in memory: %w", first, right, b.name, err)
		}
		for i := range right {
			b.setChecked(first + i)
		}
		if bad != nil {
			return bad
		}
		first += n
	}
	return nil
}

// willNeed asks the kernel to read pages that are not there soon.
func (b *Blob) willNeed(first, count uint64) {
	if s := b.source; s != nil && !b.Filled(first, count) {
		// A hint: what comes of it is seen when the pages are read.
		_ = unix.Fadvise(int(s.file.Fd()), s.offset+int64(first*nodefile.PageSize), int64(count*nodefile.PageSize), unix.FADV_WILLNEED)
	}
}
