package pages

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
)

// Huge pages. Pages that are mapped from an image file are in huge pages where its file
// system keeps them so. VerifyDemand shows files in memory instead. Where a Store was
// opened with Options.HugePages, and the host gives huge pages to such files, an
// image's pages are copied there when its node is loaded: all of them, each compared
// with its checksum. Where a machine shows 2 MiB of an image
// at an address that is congruent to their place in the file, the host then maps them
// with one entry, and so does a guest whose page tables do. A store of the guest's
// copies a page of 4 KiB, as ever.
//
// Files of the huge page pool (MFD_HUGETLB) would do as well for reading; but a store
// copies 2 MiB of them, and if the pool is empty kills whoever made it.

// hugeSize is the size of a huge page in bytes.
const hugeSize = chunkPages * nodefile.PageSize

// maxHugeBytes bounds the copies of a process: images beyond it are as without.
const maxHugeBytes = 1 << 30

// hugeBytes counts the bytes of the process's copies.
var hugeBytes atomic.Int64

// HugeBytes returns how much memory of this process holds copies of images in huge
// pages, or in what the host gave in their place.
func HugeBytes() uint64 { return uint64(hugeBytes.Load()) }

// HugePagesOffered reports whether the host gives huge pages to files in memory whose
// users ask for them.
var HugePagesOffered = sync.OnceValue(func() bool {
	b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
	return err == nil && offersHuge(string(b))
})

// offersHuge reads the kernel's list of settings, the one in force in brackets.
func offersHuge(setting string) bool {
	for _, s := range []string{"[always]", "[within_size]", "[advise]", "[force]"} {
		if strings.Contains(setting, s) {
			return true
		}
	}
	return false
}

func hugeFileSize(pages uint64) uint64 {
	return (pages*nodefile.PageSize + hugeSize - 1) / hugeSize * hugeSize
}

// takeHuge sets bytes of the process's bound aside.
func takeHuge(bytes uint64) bool {
	for {
		old := hugeBytes.Load()
		if bytes > maxHugeBytes || old > maxHugeBytes-int64(bytes) {
			return false
		}
		if hugeBytes.CompareAndSwap(old, old+int64(bytes)) {
			return true
		}
	}
}

func giveHuge(bytes int64) { hugeBytes.Add(-bytes) }

// newHugeBlob is newPagedBlob whose pages are all there, in huge pages. It returns no
// Blob where the process's bound leaves no room; file is the caller's then.
func newHugeBlob(name string, file *os.File, offset int64, x *nodefile.Index) (*Blob, error) {
	bytes := hugeFileSize(x.DataPages)
	if !takeHuge(bytes) {
		return nil, nil
	}
	b, err := newBlobOver(name, file, offset, x, bytes)
	if err != nil {
		giveHuge(int64(bytes))
		file.Close()
		return nil, fmt.Errorf("map blob %s: %w", name, err)
	}
	runtime.AddCleanup(b, giveHuge, int64(bytes))
	if err := b.fillHuge(bytes); err != nil {
		return nil, err
	}
	return b, nil
}

// fillHuge fills the Blob's file, of this size, through a mapping that asks for huge
// pages.
func (b *Blob) fillHuge(bytes uint64) (err error) {
	mem, err := mapAligned(b.source.into, bytes)
	if err != nil {
		return fmt.Errorf("map %d bytes of huge pages %s: %w", bytes, b.name, err)
	}
	defer func() {
		err = errors.Join(err, unmapAligned(mem))
	}()
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE) // without, they are ordinary ones
	s := b.source
	for first := uint64(0); first < b.pages; first += BatchPages {
		n := min(BatchPages, b.pages-first)
		data := mem[first*nodefile.PageSize : (first+n)*nodefile.PageSize]
		if got, err := s.file.ReadAt(data, s.offset+int64(first*nodefile.PageSize)); got < len(data) {
			return fmt.Errorf("read pages %d+%d %s: got %d of %d bytes: %w", first, n, b.name, got, len(data), nodefile.NoEOF(err))
		}
		for i := range n {
			if why := nodefile.Mismatch(data[i*nodefile.PageSize:(i+1)*nodefile.PageSize], b.index.Sums[first+i]); why != "" {
				return b.pageError(first+i, why)
			}
			b.setChecked(first + i)
		}
	}
	runtime.KeepAlive(b)
	return nil
}
