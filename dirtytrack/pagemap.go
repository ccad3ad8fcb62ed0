package dirtytrack

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
)

// pagemapPath lists the page table of this process, see
// Documentation/admin-guide/mm/pagemap.rst of the Linux source.
const pagemapPath = "/proc/self/pagemap"

// Page categories of PAGEMAP_SCAN, include/uapi/linux/fs.h of Linux 6.7.
const (
	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
	pageIsPFNZero = 1 << 5
)

// Bits of an entry of /proc/self/pagemap, pagemap.rst.
const (
	entryPresent    = 1 << 63
	entrySwapped    = 1 << 62
	entryFileShared = 1 << 61
	entryBytes      = 8
)

const (
	// scanRegions is the length of the buffer that one PAGEMAP_SCAN fills: 12
	// KiB, enough for one call where fewer than 512 runs of pages are private.
	scanRegions = 512
	// readEntries is the number of page-map entries read in one call where
	// PAGEMAP_SCAN is missing: 64 KiB, which covers 32 MiB of memory.
	readEntries = 8192
)

// Pagemap finds the private pages of a memory range: the pages of a
// MAP_PRIVATE file mapping that were copied by a write, and the pages of an
// anonymous mapping that were written. It asks the kernel's page map, which
// costs nothing while the guest runs.
//
// On Linux 6.7 and later it uses the PAGEMAP_SCAN ioctl. On older kernels it
// reads the page-map entries, which cannot tell the shared zero page from a
// written page: an anonymous page that was only read may then be reported too.
//
// PagemapOf does the same for a range of another process's address space.
//
// Pagemap implements Tracker, with one difference to write-tracking
// mechanisms: Arm does nothing, and Collect reports a page for as long as it
// is private to the mapping, whenever it was written. A caller that restores a
// page by copying content back removes that page from the answer itself.
type Pagemap struct {
	file    *os.File
	base    uint64 // address of the range
	bytes   uint64
	scan    bool
	regions []pageRegion
	arg     *scanArg
	entries []byte
}

var _ Tracker = (*Pagemap)(nil)

// scanWorks tells whether the kernel knows PAGEMAP_SCAN; asked once a process.
var scanWorks = sync.OnceValues(probeScan)

// NewPagemap returns a tracker over mem, which must begin and end on a page
// boundary, be mapped (not Go heap) memory and stay mapped until Close.
func NewPagemap(mem []byte) (*Pagemap, error) {
	works, err := scanWorks()
	if err != nil {
		return nil, err
	}
	return newPagemap(mem, works)
}

func newPagemap(mem []byte, scan bool) (*Pagemap, error) {
	base := addressOf(mem)
	if len(mem) == 0 || base%PageSize != 0 || len(mem)%PageSize != 0 {
		return nil, fmt.Errorf("track private pages at %#x: %d bytes are not a non-empty run of whole pages", base, len(mem))
	}
	return openPagemap(pagemapPath, base, uint64(len(mem)), scan)
}

// PagemapOf returns a tracker over the given number of pages from an address of
// another process on. It needs the right to trace that process.
func PagemapOf(pid int, base, pages uint64) (*Pagemap, error) {
	works, err := scanWorks()
	if err != nil {
		return nil, err
	}
	if base%PageSize != 0 || pages == 0 {
		return nil, fmt.Errorf("track private pages of process %d at %#x: %d pages are not a non-empty run of whole pages", pid, base, pages)
	}
	return openPagemap(fmt.Sprintf("/proc/%d/pagemap", pid), base, pages*PageSize, works)
}

func openPagemap(path string, base, bytes uint64, scan bool) (*Pagemap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open page map: %w", err)
	}
	p := &Pagemap{file: f, base: base, bytes: bytes, scan: scan}
	if scan {
		p.regions = make([]pageRegion, scanRegions)
		p.arg = new(scanArg)
	} else {
		p.entries = make([]byte, min(readEntries, bytes/PageSize)*entryBytes)
	}
	return p, nil
}

// Name implements Tracker: "pagemap-scan" or, on older kernels, "pagemap-read".
func (p *Pagemap) Name() string {
	if p.scan {
		return "pagemap-scan"
	}
	return "pagemap-read"
}

// Pages returns the number of pages of the tracked range.
func (p *Pagemap) Pages() uint64 { return p.bytes / PageSize }

// Arm implements Tracker and does nothing: see the type.
func (p *Pagemap) Arm() error { return nil }

// Collect implements Tracker for the whole range. A private huge page is
// reported as all of its 4 KiB pages.
func (p *Pagemap) Collect(into *PageSet) error {
	return p.CollectRange(0, p.Pages(), into)
}

// CollectRange is Collect limited to the count pages from first on.
func (p *Pagemap) CollectRange(first, count uint64, into *PageSet) error {
	if first > p.Pages() || count > p.Pages()-first {
		return fmt.Errorf("collect private pages %d+%d: the range has %d pages", first, count, p.Pages())
	}
	if into.Cap() < first+count {
		return fmt.Errorf("collect private pages %d+%d: the page set holds only %d pages", first, count, into.Cap())
	}
	if count == 0 {
		return nil
	}
	if p.scan {
		return p.collectScan(first, count, into)
	}
	return p.collectRead(first, count, into)
}

// collectScan asks for (PRESENT or SWAPPED) and not FILE and not PFNZERO.
func (p *Pagemap) collectScan(first, count uint64, into *PageSet) error {
	start, end := p.base+first*PageSize, p.base+(first+count)*PageSize
	for start < end {
		*p.arg = scanArg{
			start:             start,
			end:               end,
			categoryInverted:  pageIsFile | pageIsPFNZero,
			categoryMask:      pageIsFile | pageIsPFNZero,
			categoryAnyOfMask: pageIsPresent | pageIsSwapped,
			// The same for every match, so that the kernel merges neighbours.
			returnMask: pageIsFile,
		}
		n, err := pagemapScan(p.file, p.arg, p.regions)
		if err != nil {
			return fmt.Errorf("scan page map at %#x-%#x: %w", start, end, err)
		}
		for _, r := range p.regions[:n] {
			// A huge page that straddles the range may be reported whole.
			lo, hi := max(r.start, start), min(r.end, end)
			if lo < hi {
				into.AddRange((lo-p.base)/PageSize, (hi-lo)/PageSize)
			}
		}
		if p.arg.walkEnd <= start {
			return fmt.Errorf("scan page map at %#x-%#x: the kernel stopped at %#x", start, end, p.arg.walkEnd)
		}
		start = p.arg.walkEnd
	}
	return nil
}

// Resident counts the pages of the range that are in memory, or swapped out: private
// ones, and those of files, which others may have mapped too. Its cost is the range's,
// whatever else the process has mapped.
func (p *Pagemap) Resident() (private, shared uint64, err error) {
	if !p.scan {
		return p.residentRead()
	}
	for start, end := p.base, p.base+p.bytes; start < end; {
		*p.arg = scanArg{
			start: start, end: end, categoryInverted: pageIsPFNZero, categoryMask: pageIsPFNZero,
			categoryAnyOfMask: pageIsPresent | pageIsSwapped, returnMask: pageIsFile,
		}
		n, err := pagemapScan(p.file, p.arg, p.regions)
		if err != nil {
			return 0, 0, fmt.Errorf("scan page map at %#x-%#x: %w", start, end, err)
		}
		for _, r := range p.regions[:n] {
			lo, hi := max(r.start, start), min(r.end, end)
			if pages := (hi - min(lo, hi)) / PageSize; r.categories&pageIsFile != 0 {
				shared += pages
			} else {
				private += pages
			}
		}
		if p.arg.walkEnd <= start {
			return 0, 0, fmt.Errorf("scan page map at %#x-%#x: the kernel stopped at %#x", start, end, p.arg.walkEnd)
		}
		start = p.arg.walkEnd
	}
	return private, shared, nil
}

func (p *Pagemap) residentRead() (private, shared uint64, err error) {
	err = p.eachEntry(0, p.Pages(), func(_, e uint64) {
		switch {
		case e&(entryPresent|entrySwapped) == 0:
		case e&entryFileShared != 0:
			shared++
		default:
			private++
		}
	})
	return private, shared, err
}

// collectRead walks the page-map entries.
func (p *Pagemap) collectRead(first, count uint64, into *PageSet) error {
	return p.eachEntry(first, count, func(page, e uint64) {
		if e&(entryPresent|entrySwapped) != 0 && e&entryFileShared == 0 {
			into.Add(page)
		}
	})
}

// eachEntry reads the page-map entries of pages.
func (p *Pagemap) eachEntry(first, count uint64, f func(page, entry uint64)) error {
	for count > 0 {
		n := min(count, uint64(len(p.entries)/entryBytes))
		buf := p.entries[:n*entryBytes]
		off := int64((p.base/PageSize + first) * entryBytes)
		if got, err := p.file.ReadAt(buf, off); err != nil {
			return fmt.Errorf("read page map of %d pages at %#x: got %d of %d bytes: %w",
				n, p.base+first*PageSize, got, len(buf), err)
		}
		for i := range n {
			f(first+i, binary.NativeEndian.Uint64(buf[i*entryBytes:]))
		}
		first += n
		count -= n
	}
	return nil
}

// Close implements Tracker.
func (p *Pagemap) Close() error {
	if err := p.file.Close(); err != nil {
		return fmt.Errorf("close page map: %w", err)
	}
	return nil
}

// probeScan tries PAGEMAP_SCAN on page 0. Any refusal (ENOTTY before Linux
// 6.7, EPERM or ENOSYS under a system-call filter) means that it is not to be
// used; only a page map that cannot be opened is an error.
func probeScan() (bool, error) {
	f, err := os.Open(pagemapPath)
	if err != nil {
		return false, fmt.Errorf("open page map: %w", err)
	}
	defer f.Close()
	arg := &scanArg{end: PageSize, categoryAnyOfMask: pageIsPresent, returnMask: pageIsFile}
	_, err = pagemapScan(f, arg, make([]pageRegion, 1))
	return err == nil && arg.walkEnd == PageSize, nil
}
