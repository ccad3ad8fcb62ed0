package pages

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/lineage/nodefile"
)

// Blob is an immutable run of whole pages in a file: a root image, the data
// section of a node file, or memory into which differences were expanded. It is
// mapped MAP_SHARED and read-only, so all machines that use it share the host's
// page cache.
//
// The mapping and the file are released when the Blob is no longer reachable.
type Blob struct {
	name   string
	file   *os.File
	offset int64
	pages  uint64
	mem    []byte
	slab   *slab // of expanded pages; nil if they are those of a file of the store
	// patches are what pages of the slab are still to be made of; nil if they are there.
	patches atomic.Pointer[Patches]
	// source is where pages come from that are filled when they are needed; nil if
	// they are all there.
	source *pageSource
	index  *nodefile.Index // sums, digests if known, and what names the guest pages

	checked   []atomic.Uint64 // a bit for each page whose checksum was right
	unchecked atomic.Int64    // pages without
}

// mapping is what a Blob leaves to release.
type mapping struct {
	mem  []byte
	file *os.File
}

func (m mapping) release() {
	if len(m.mem) > 0 {
		// Fails only for an address that is not a mapping; nobody is left to tell.
		_ = unix.Munmap(m.mem)
	}
	_ = m.file.Close()
}

// newBlob maps the pages of x at offset of file, and owns file from then on, also
// when it fails. The range must lie inside the file. No page is checked yet.
func newBlob(name string, file *os.File, offset int64, x *nodefile.Index) (*Blob, error) {
	m := mapping{file: file}
	pages := x.DataPages
	if pages > nodefile.MaxDataPages || offset%nodefile.PageSize != 0 {
		m.release()
		return nil, fmt.Errorf("map blob %s: %d pages at offset %d: %w", name, pages, offset, nodefile.ErrFormat)
	}
	err := checkExtent(file, offset, pages)
	if err != nil {
		m.release()
		return nil, fmt.Errorf("map blob %s: %w", name, err)
	}
	if pages > 0 {
		m.mem, err = unix.Mmap(int(file.Fd()), offset, int(pages*nodefile.PageSize), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			m.release()
			return nil, fmt.Errorf("map blob %s: %d pages at offset %d: %w", name, pages, offset, err)
		}
	}
	b := &Blob{name: name, file: file, offset: offset, pages: pages, mem: m.mem, index: x}
	b.checked = make([]atomic.Uint64, (pages+63)/64)
	b.unchecked.Store(int64(pages))
	runtime.AddCleanup(b, mapping.release, m)
	return b, nil
}

// checkExtent makes sure that a file has pages at an offset.
func checkExtent(file *os.File, offset int64, pages uint64) error {
	fi, err := file.Stat()
	if err != nil {
		return err
	}
	if end := offset + int64(pages*nodefile.PageSize); fi.Size() < end {
		return fmt.Errorf("%d pages at offset %d end at %d, the file has %d bytes: %w", pages, offset, end, fi.Size(), nodefile.ErrLength)
	}
	return nil
}

// Index returns what is sealed of the pages. Do not modify it.
func (b *Blob) Index() *nodefile.Index { return b.index }

// StandIn returns a Blob without a file, whose pages nobody may read: for figures about
// which pages Views have in common. Grow gives it pages.
func StandIn(name string) *Blob { return &Blob{name: name} }

// Grow makes sure that a Blob of StandIn has so many pages, and reports whether it had
// fewer.
func (b *Blob) Grow(pages uint64) bool {
	if b.file != nil {
		panic("lineage: a blob with a file does not grow")
	}
	if b.pages >= pages {
		return false
	}
	b.pages = pages
	return true
}

// Name says where the blob comes from, for messages.
func (b *Blob) Name() string { return b.name }

// File returns the open file, for mapping pages of it elsewhere: page n lies at
// DataOffset() + n*PageSize. It is open for reading only and belongs to the
// Blob: do not close it, and keep the Blob reachable while using it.
func (b *Blob) File() *os.File {
	if b.slab != nil {
		b.slab.shown.Store(true)
		b.makePages()
	}
	return b.file
}

// DataOffset returns the offset of page 0 in the file, in bytes, a multiple of
// PageSize.
func (b *Blob) DataOffset() int64 { return b.offset }

// Pages returns the number of pages.
func (b *Blob) Pages() uint64 { return b.pages }

// Bytes returns the PageSize bytes of one page. The memory is read-only and
// valid while the Blob is reachable. Unless the Store was opened with VerifyEager,
// or Check passed for it, the page may be damaged; a damaged page of a Blob that is
// Paged shows zeros. It panics if page is not below Pages.
func (b *Blob) Bytes(page uint64) []byte {
	if page >= b.pages {
		panic(fmt.Sprintf("lineage: page %d of blob %s, which has %d", page, b.name, b.pages))
	}
	if b.source != nil && b.Check(page, 1) != nil {
		return guest.ZeroPage[:] // not what it is, but not the damage either
	}
	b.makePages()
	lo := page * nodefile.PageSize
	return b.mem[lo : lo+nodefile.PageSize : lo+nodefile.PageSize]
}

// Check compares the count pages from first on with their checksums, those that
// were not compared before. What is checked once costs one load of a counter.
// The error is a *PageError that names node and guest page, or that of reading.
func (b *Blob) Check(first, count uint64) error {
	if b.unchecked.Load() == 0 || count == 0 {
		return nil
	}
	if first > b.pages || count > b.pages-first {
		panic(fmt.Sprintf("lineage: check pages %d+%d of blob %s, which has %d", first, count, b.name, b.pages))
	}
	for end := first + count; first < end; {
		n := uint64(0)
		for first+n < end && !b.isChecked(first+n) {
			n++
		}
		check := b.checkRun
		if b.source != nil {
			check = b.fillRun
		}
		if err := check(first, n); err != nil {
			return err
		}
		first += n + 1
	}
	return nil
}

// ReadAt implements io.ReaderAt. It gives out nothing that was not checked.
func (b *Blob) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read blob %s at %d: negative offset", b.name, off)
	}
	for n < len(p) {
		at := uint64(off) + uint64(n)
		page := at / nodefile.PageSize
		if page >= b.pages {
			return n, io.EOF
		}
		if err := b.Check(page, 1); err != nil {
			return n, err
		}
		n += copy(p[n:], b.Bytes(page)[at%nodefile.PageSize:])
	}
	runtime.KeepAlive(b)
	return n, nil
}

func (b *Blob) isChecked(page uint64) bool { return b.checked[page/64].Load()&(1<<(page%64)) != 0 }

func (b *Blob) checkRun(first, count uint64) error {
	err := ReadPages(b.file, b.offset, first, count, func(first uint64, data []byte) error {
		for i := uint64(0); len(data) > 0; i, data = i+1, data[nodefile.PageSize:] {
			if why := nodefile.Mismatch(data[:nodefile.PageSize], b.index.Sums[first+i]); why != "" {
				return b.pageError(first+i, why)
			}
			b.setChecked(first + i)
		}
		return nil
	})
	runtime.KeepAlive(b)
	return err
}

func (b *Blob) setChecked(page uint64) {
	if bit := uint64(1) << (page % 64); b.checked[page/64].Or(bit)&bit == 0 {
		b.unchecked.Add(-1)
	}
}

func (b *Blob) pageError(page uint64, why string) *PageError {
	return &PageError{Where: b.name, Page: page, Guest: b.index.GuestRuns(page, 1), Why: why}
}

// Verify reads the blob from its file and compares every page with its checksum,
// and with its digest where the Blob has them. The error matches ErrChecksum if
// the content changed, and names the first such page.
func (b *Blob) Verify() error {
	var bad error
	_, err := b.Leaves(func(e *PageError) { bad = cmp.Or(bad, error(e)) })
	return cmp.Or(err, bad)
}

// Leaves reads the blob from its file, reports damaged pages, and returns the
// digest of every page as it is.
func (b *Blob) Leaves(report func(*PageError)) ([]nodefile.Digest, error) {
	leaves := make([]nodefile.Digest, 0, b.pages)
	b.makePages()
	file, offset := b.file, b.offset
	if b.source != nil {
		file, offset = b.source.file, b.source.offset
	}
	err := ReadPages(file, offset, 0, b.pages, func(first uint64, data []byte) error {
		for i := first; len(data) > 0; i, data = i+1, data[nodefile.PageSize:] {
			leaf := nodefile.PageDigest(data[:nodefile.PageSize])
			leaves = append(leaves, leaf)
			why := nodefile.Mismatch(data[:nodefile.PageSize], b.index.Sums[i])
			if why == "" && b.index.Digests != nil && leaf != b.index.Digests[i] {
				why = fmt.Sprintf("digest is %v, sealed as %v", leaf, b.index.Digests[i])
			}
			if why != "" {
				report(b.pageError(i, why))
			}
		}
		return nil
	})
	runtime.KeepAlive(b)
	if err != nil {
		return nil, fmt.Errorf("verify blob %s: %w", b.name, err)
	}
	return leaves, nil
}
