package platform

import (
	"fmt"
	"os"
	"slices"
	"sync"
)

// Pager is a file in memory that is filled as its pages are needed. Its methods may
// be called from any goroutine. Page numbers are those of the file.
type Pager interface {
	// File returns the file. What was not filled is a hole in it, and must not be
	// read.
	File() *os.File
	// Fill makes the file hold the content of count pages from page first on. After
	// an error, some of them may be missing.
	Fill(first, count uint64) error
	// Filled reports whether Fill has nothing to do.
	Filled(first, count uint64) bool
}

// fillAround is how many pages, aligned, are filled together when the guest touches
// one of them: 64 KiB, what Linux maps around a fault too (fault_around_bytes).
const fillAround = 16

// Paging is what a Backing that pages in on demand knows: which pages come from
// which Pager, and what was needed when. The Backings of all platforms share it.
// Its lock is a leaf, but that a Pager's Fill is never called under it.
type Paging struct {
	mu        sync.Mutex
	runs      []pagerRun // ascending, not overlapping
	recording bool
	exact     bool
	recorded  []uint64
	faults    uint64
	pages     uint64
	failed    func(error)
}

// pagerRun is a stretch of guest pages that come from a pager, from its page on.
type pagerRun struct {
	first, count uint64
	pager        Pager
	page         uint64
}

func (r *pagerRun) end() uint64 { return r.first + r.count }

// OnFailure has f called, on any goroutine, with the reason why a page that the
// guest waits for cannot be had. The guest must not be run on then: it would wait
// for ever.
func (p *Paging) OnFailure(f func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = f
}

// at returns the index of the first run that ends behind page.
func (p *Paging) at(page uint64) int {
	i, _ := slices.BinarySearchFunc(p.runs, page, func(r pagerRun, page uint64) int {
		if r.end() <= page {
			return -1
		}
		return 1
	})
	return i
}

// Lay notes that pages come from a pager, or, if that is nil, from elsewhere.
func (p *Paging) Lay(first, count uint64, pager Pager, page uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := first + count
	lo := p.at(first)
	hi := lo
	var middle []pagerRun
	for ; hi < len(p.runs) && p.runs[hi].first < end; hi++ {
		if r := p.runs[hi]; r.first < first {
			middle = append(middle, pagerRun{r.first, first - r.first, r.pager, r.page})
		}
	}
	if pager != nil {
		middle = append(middle, pagerRun{first, count, pager, page})
	}
	if hi > lo {
		if r := p.runs[hi-1]; r.end() > end {
			middle = append(middle, pagerRun{end, r.end() - end, r.pager, r.page + end - r.first})
		}
	}
	if hi > lo || len(middle) > 0 {
		p.runs = slices.Replace(p.runs, lo, hi, middle...)
	}
}

// Missing reports whether pages may be missing of the count from first on.
func (p *Paging) Missing(first, count uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := p.at(first); i < len(p.runs) && p.runs[i].first < first+count; i++ {
		r := &p.runs[i]
		lo, hi := max(first, r.first), min(first+count, r.end())
		if !r.pager.Filled(r.page+lo-r.first, hi-lo) {
			return true
		}
	}
	return false
}

// Fill makes pages present that the monitor is going to look at.
func (p *Paging) Fill(first, count uint64) error {
	for end := first + count; first < end; {
		p.mu.Lock()
		i := p.at(first)
		if i == len(p.runs) || p.runs[i].first >= end {
			p.mu.Unlock()
			return nil
		}
		r := p.runs[i]
		p.mu.Unlock()
		first = max(first, r.first)
		n := min(end, r.end()) - first
		page := r.page + first - r.first
		if !r.pager.Filled(page, n) {
			p.note(first, n, r.pager, page)
			if err := r.pager.Fill(page, n); err != nil {
				return err
			}
		}
		first += n
	}
	return nil
}

// note records what is missing of the count pages from first on.
func (p *Paging) note(first, count uint64, pager Pager, page uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range count {
		if pager.Filled(page+i, 1) {
			continue
		}
		p.pages++
		if p.recording {
			p.recorded = append(p.recorded, first+i)
		}
	}
}

// Touch serves the guest's access to a page: it fills the page, and some around it
// unless a recording goes on, and returns which guest pages are there then. After
// an error, of which OnFailure's function knows, none is.
func (p *Paging) Touch(page uint64) (first, count uint64, err error) {
	p.mu.Lock()
	i := p.at(page)
	if i == len(p.runs) || p.runs[i].first > page {
		p.mu.Unlock() // something else was mapped there meanwhile
		return page, 1, nil
	}
	r, failed := p.runs[i], p.failed
	around := uint64(fillAround)
	if p.exact {
		around = 1
	}
	p.faults++
	p.mu.Unlock()
	// Aligned in the file, so that different machines ask for the same.
	at := r.page + page - r.first
	lo := max(at-at%around, r.page)
	hi := min(at-at%around+around, r.page+r.count)
	p.note(page, 1, r.pager, at)
	// What lies around is a guess: if it cannot be had, the page alone may.
	if r.pager.Fill(lo, hi-lo) == nil {
		return r.first + lo - r.page, hi - lo, nil
	}
	if err = r.pager.Fill(at, 1); err == nil {
		return page, 1, nil
	}
	err = fmt.Errorf("page in guest page %#x: %w", page, err)
	if failed != nil {
		failed(err)
	}
	return page, 1, err
}

// Record begins, or ends, a recording of the pages that are paged in on demand. While
// an exact one lasts they come one by one, so that none is missed because its
// neighbour was needed before.
func (p *Paging) Record(on, exact bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.recorded = nil
	}
	p.recording, p.exact = on, on && exact
}

// Recorded returns the pages that were paged in since the recording began, in the
// order in which they were needed.
func (p *Paging) Recorded() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.recorded)
}

// Counts returns the faults that were served, and the pages that were missing then,
// since the memory was made.
func (p *Paging) Counts() (faults, pages uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.pages
}
