package lineage

// viewRuns gives the runs of an index the blobs that hold their data: the own file's, and those
// of the donors in their order. Without donors' blobs, own holds all data pages.
func viewRuns(x *pageIndex, own *Blob, donors []*Blob) []Run {
	runs := make([]Run, 0, len(x.runs))
	for _, r := range x.runs {
		switch {
		case r.page == zeroRun:
			runs = append(runs, Run{First: r.first, Count: r.count})
		case donors == nil:
			runs = append(runs, Run{First: r.first, Count: r.count, Blob: own, Page: r.page})
		default:
			x.eachPlace(r.page, r.count, func(at, n uint64, donor int, page uint64) {
				blob := own
				if donor != ownFile {
					blob = donors[donor]
				}
				runs = append(runs, Run{First: r.first + at - r.page, Count: n, Blob: blob, Page: page})
			})
		}
	}
	return runs
}
