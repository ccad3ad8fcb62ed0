package pages

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"seuss/lineage/nodefile"
)

// readers is how many prefetches of a view read at a time: one waits for the disk
// while the other one checks.
const readers = 2

// Prefetch fills the pages of a loading set, in its order, where the View's Blobs are
// paged, until stop says so, and returns how many were missing. What machines map there as
// layouts say, any of which may be nil, is filled too. They may be of a View that v has
// grown from: where v differs from it, it is what a page is copied over. The error is the first one; the other pages are
// filled all the same.
func (v *View) Prefetch(set nodefile.LoadingSet, layouts []*Layout, stop func() bool) (filled uint64, err error) {
	lacking := func(r Run) func(*Layout) bool { return func(l *Layout) bool { return l.lacks(r) } }
	var missing, read []Run // ascending in the order of need
	for _, p := range set {
		if p.First >= v.pages {
			continue
		}
		for r := range v.Runs(p.First, min(p.Count, v.pages-p.First)) {
			if r.lacks() {
				missing, read = append(missing, r), append(read, r)
			} else if slices.ContainsFunc(layouts, lacking(r)) {
				missing = append(missing, r)
			}
		}
	}
	// The kernel reads ahead while the first ones are checked. Neighbours in the file
	// are one request.
	for _, r := range mergeRuns(read) {
		if stop() {
			return filled, nil
		}
		r.Blob.willNeed(r.Page, r.Count)
	}
	var next, count atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(missing) && !stop(); i = int(next.Add(1)) - 1 {
				r := missing[i]
				var ferr error
				if r.lacks() {
					ferr = r.Blob.Fill(r.Page, r.Count)
				}
				for _, l := range layouts {
					if ferr == nil && l.lacks(r) {
						ferr = l.Flat.FillGuest(r.First, r.Count)
					}
				}
				if ferr != nil {
					mu.Lock()
					err = errors.Join(err, ferr)
					mu.Unlock()
					continue
				}
				count.Add(int64(r.Count))
			}
		})
	}
	wg.Wait()
	return uint64(count.Load()), err
}

// lacks reports whether pages of the run have not been read yet.
func (r Run) lacks() bool {
	return r.Blob != nil && r.Blob.Paged() && !r.Blob.Filled(r.Page, r.Count)
}

// mergeGap is how many pages that nobody asked for are read to save a request.
const mergeGap = 8

// mergeRuns brings runs into the order of their files, a file at a time, and joins
// those that lie close together.
func mergeRuns(runs []Run) []Run {
	merged := slices.Clone(runs)
	order := map[*Blob]int{}
	for _, r := range runs {
		if _, ok := order[r.Blob]; !ok {
			order[r.Blob] = len(order)
		}
	}
	slices.SortFunc(merged, func(a, b Run) int {
		if a.Blob != b.Blob {
			return order[a.Blob] - order[b.Blob]
		}
		return int(int64(a.Page) - int64(b.Page))
	})
	out := merged[:0]
	for _, r := range merged {
		if n := len(out); n > 0 && out[n-1].Blob == r.Blob && r.Page <= out[n-1].Page+out[n-1].Count+mergeGap {
			out[n-1].Count = max(out[n-1].Count, r.Page+r.Count-out[n-1].Page)
			continue
		}
		out = append(out, r)
	}
	return out
}
