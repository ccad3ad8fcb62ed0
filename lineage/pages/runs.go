package pages

import "seuss/lineage/nodefile"

// RunsOf gives the runs of an index the blobs that hold their data: the own file's, and those
// of the donors in their order. Without donors' blobs, own holds all data pages.
func RunsOf(x *nodefile.Index, own *Blob, donors []*Blob) []Run {
	runs := make([]Run, 0, len(x.Runs))
	for _, r := range x.Runs {
		switch {
		case r.Page == nodefile.ZeroRun:
			runs = append(runs, Run{First: r.First, Count: r.Count})
		case donors == nil:
			runs = append(runs, Run{First: r.First, Count: r.Count, Blob: own, Page: r.Page})
		default:
			x.EachPlace(r.Page, r.Count, func(at, n uint64, donor int, page uint64) {
				blob := own
				if donor != nodefile.OwnFile {
					blob = donors[donor]
				}
				runs = append(runs, Run{First: r.First + at - r.Page, Count: n, Blob: blob, Page: page})
			})
		}
	}
	return runs
}
