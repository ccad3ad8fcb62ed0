package api

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"seuss/dispatcher/regions"
	"seuss/images"
	"seuss/lineage"
	"seuss/lineage/oci"
)

// Tell is told how far something is; nil means nobody.
type Tell func(done, total int)

// Inspections look into snapshots and change nothing. A reference is as for Snapshots.
type Inspections interface {
	Inspect(ctx context.Context, ref string) (*Inspected, error)
	Diff(ctx context.Context, ask Diff) (*Difference, error)
	Usage(ctx context.Context) (*Usage, error)
	RebaseCheck(ctx context.Context, ref, onto string) (lineage.Rebase, error)
	// Verify compares snapshots with their digests, all where none is named.
	Verify(ctx context.Context, refs []string, tell Tell) (*Verified, error)
	Duplicates(ctx context.Context, tell Tell) (lineage.Duplicates, error)
	// Export makes an OCI image of a snapshot and its ancestors. The service must stay
	// open until the image is closed.
	Export(ctx context.Context, ref string, tell func(step string)) (*oci.Bundle, error)
}

// Inspected is a snapshot with what it takes more to find out.
type Inspected struct {
	Snapshot     *Snapshot       `json:"snapshot"`
	Lineage      []*Snapshot     `json:"lineage"` // from the root down to the snapshot
	Children     int             `json:"children"`
	LoadingPages uint64          `json:"loading_pages,omitempty"` // of its loading set
	LoadingRuns  uint64          `json:"loading_runs,omitempty"`
	LoadingError string          `json:"loading_error,omitempty"` // why that cannot be read
	Donors       []lineage.Donor `json:"donors,omitempty"`
}

// Diff asks where the memory of two snapshots differs.
type Diff struct {
	A       string // the parent of B if it is empty
	B       string
	Symbols int // of the answer, at most

	// OfA and OfB are memory that is no node's, beside the names that it is called; nil: A and
	// B are nodes'.
	OfA, OfB *lineage.Memory
}

// Difference is where the memory of two snapshots differs.
type Difference struct {
	A           string          `json:"a"`
	B           string          `json:"b"`
	Pages       uint64          `json:"pages"`
	Bytes       uint64          `json:"bytes"`
	Regions     []*regions.Line `json:"regions"`
	Symbols     []*regions.Line `json:"symbols"`                // those with most of it
	SymbolsLeft int             `json:"symbols_left,omitempty"` // that are not among these
}

// Usage is what snapshots take.
type Usage struct {
	Snapshots         []SnapshotUsage `json:"snapshots"`
	FileBytes         uint64          `json:"file_bytes"`  // of all files, images included
	WholeBytes        uint64          `json:"whole_bytes"` // of all deltas in whole pages
	ProportionalBytes float64         `json:"proportional_bytes"`
}

// SnapshotUsage is what one takes.
type SnapshotUsage struct {
	ID   string       `json:"id"`
	Kind lineage.Kind `json:"kind"`
	lineage.Usage
	Ratio float64 `json:"ratio"` // delta in whole pages to file
}

// Verify asks for snapshots to be compared with their digests.
type Verify struct {
	Snapshots []string `json:"snapshots,omitempty"` // all where there are none
}

// MaxFaults bounds the faults of one answer.
const MaxFaults = 10_000

// Verified says what is wrong with snapshots.
type Verified struct {
	Nodes      int         `json:"nodes"` // that were looked at
	Faults     []NodeFault `json:"faults"`
	FaultsLeft int         `json:"faults_left,omitempty"` // beyond MaxFaults
}

// NodeFault is what is wrong with a snapshot, and where.
type NodeFault struct {
	lineage.Fault
	Error string `json:"error"`
}

// Progress is a line of an answer that comes as it is made: how far it is, and at its
// end the result or the error.
type Progress[T any] struct {
	Done   int    `json:"done,omitempty"`
	Total  int    `json:"total,omitempty"`
	Result *T     `json:"result,omitempty"`
	Error  *Error `json:"error,omitempty"`
}

var _ Inspections = Kept{}

// Inspect implements the noun.
func (k Kept) Inspect(_ context.Context, ref string) (*Inspected, error) {
	n, err := k.Store.Get(ref)
	if err != nil {
		return nil, err
	}
	path, err := k.Store.Lineage(n)
	if err != nil {
		return nil, err
	}
	doc := &Inspected{Snapshot: SnapshotOf(k.Store, n), Children: len(k.Store.Children(n.ID))}
	for _, p := range path {
		doc.Lineage = append(doc.Lineage, SnapshotOf(k.Store, p))
	}
	set, err := k.Store.LoadingSet(n)
	if err != nil {
		doc.LoadingError = err.Error()
	}
	doc.LoadingPages, doc.LoadingRuns = set.Len(), uint64(len(set))
	doc.Donors, err = k.Store.Inspect().Donors(n)
	return doc, err
}

// Diff implements the noun.
func (k Kept) Diff(ctx context.Context, ask Diff) (_ *Difference, err error) {
	doc := &Difference{A: ask.A, B: ask.B}
	a, b := ask.OfA, ask.OfB
	if b == nil {
		if b, err = k.memory(&doc.B); err != nil {
			return nil, err
		}
		doc.A = cmp.Or(doc.A, b.Node.Parent)
	}
	if a == nil {
		if doc.A == "" {
			return nil, fmt.Errorf("node %.12s is an image: it has no parent to compare with: %w", b.Node.ID, lineage.ErrInvalid)
		}
		if a, err = k.memory(&doc.A); err != nil {
			return nil, err
		}
	}
	// The layout is that of B's guest; the image was verified with the node.
	image, err := images.Open(k.Store.ImagePath(b.Node.ImageDigest), images.SkipDigest())
	if err != nil {
		return nil, err
	}
	defer image.Close()
	layout, err := regions.New(image, *b)
	if err != nil {
		return nil, err
	}
	sum, err := layout.Summarise(func(yield func(lineage.PageDiff, error) bool) {
		for diff, err := range a.Differ(*b) {
			if ctx.Err() != nil {
				yield(diff, context.Cause(ctx))
				return
			}
			if !yield(diff, err) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	shown := min(len(sum.Symbols), max(ask.Symbols, 0))
	doc.Pages, doc.Bytes, doc.Regions, doc.Symbols, doc.SymbolsLeft = sum.Pages, sum.Bytes, sum.Regions, sum.Symbols[:shown], len(sum.Symbols)-shown
	return doc, nil
}

// memory is that of the node that a reference names, which becomes its id.
func (k Kept) memory(ref *string) (*lineage.Memory, error) {
	n, err := k.Store.Get(*ref)
	if err != nil {
		return nil, err
	}
	*ref = n.ID
	m, err := k.Store.Inspect().Memory(n.ID)
	return &m, err
}

// Usage implements the noun.
func (k Kept) Usage(context.Context) (*Usage, error) {
	usage, err := k.Store.Inspect().Stats()
	if err != nil {
		return nil, err
	}
	doc := &Usage{Snapshots: []SnapshotUsage{}, FileBytes: k.Store.DiskBytes()}
	for _, n := range k.Store.List() {
		u, ok := usage[n.ID]
		if !ok {
			continue // added or removed meanwhile
		}
		whole := n.DeltaBytes + SnapshotOf(k.Store, n).ImageBytes
		doc.Snapshots = append(doc.Snapshots, SnapshotUsage{n.ID, n.Kind, u, float64(whole) / float64(max(u.FileBytes, 1))})
		doc.FileBytes += u.FileBytes - n.StoredBytes() // the image
		doc.WholeBytes += whole
		doc.ProportionalBytes += u.ProportionalBytes
	}
	return doc, nil
}

// RebaseCheck implements the noun.
func (k Kept) RebaseCheck(_ context.Context, ref, onto string) (done lineage.Rebase, err error) {
	n, err := k.Store.Get(ref)
	if err != nil {
		return done, err
	}
	other, err := k.Store.Get(onto)
	if err != nil {
		return done, err
	}
	return k.Store.Inspect().RebaseCheck(n.ID, other.ID)
}

// Verify implements the noun.
func (k Kept) Verify(ctx context.Context, refs []string, tell Tell) (*Verified, error) {
	doc := &Verified{Nodes: len(refs), Faults: []NodeFault{}}
	if doc.Nodes == 0 {
		doc.Nodes = len(k.Store.List())
	}
	faults, err := k.Store.Inspect().Audit(ctx, refs, tell.orNobody())
	if err != nil {
		return nil, err
	}
	for _, f := range faults {
		if len(doc.Faults) == MaxFaults {
			doc.FaultsLeft = len(faults) - MaxFaults
			break
		}
		doc.Faults = append(doc.Faults, NodeFault{f, f.Err.Error()})
	}
	return doc, nil
}

func (t Tell) orNobody() Tell {
	if t == nil {
		return func(int, int) {}
	}
	return t
}

// Duplicates implements the noun.
func (k Kept) Duplicates(ctx context.Context, tell Tell) (lineage.Duplicates, error) {
	return k.Store.Inspect().FindDuplicates(ctx, tell.orNobody())
}

// Export implements the noun.
func (k Kept) Export(_ context.Context, ref string, tell func(step string)) (*oci.Bundle, error) {
	n, err := k.Store.Get(ref)
	if err != nil {
		return nil, err
	}
	return oci.Export(k.Store, n.ID, tell)
}

// Image describes a root image.
type Image struct {
	Name     string    `json:"name"`
	Tags     []string  `json:"tags"` // names that lead to it now
	Digest   string    `json:"digest"`
	Bytes    int64     `json:"bytes"`     // of its own file and its layers
	OwnBytes int64     `json:"own_bytes"` // of its own file
	Layers   int       `json:"layers"`
	Program  string    `json:"program,omitempty"`
	Created  time.Time `json:"created"`
	Error    string    `json:"error,omitempty"` // why it cannot be opened
}

// ImagesOf lists the images of a store, the newest first.
func ImagesOf(store images.Store) ([]Image, error) {
	stored, err := store.List()
	if err != nil {
		return nil, err
	}
	list := []Image{}
	for _, i := range stored {
		item := Image{i.Name, i.Tags, i.Digest, i.Bytes, i.Bytes, len(i.Layers), i.Program, i.Created, ""}
		for _, l := range i.Layers {
			item.Bytes += int64(l.Bytes)
		}
		if item.Tags == nil {
			item.Tags = []string{}
		}
		if i.Err != nil {
			item.Error = i.Err.Error()
		}
		list = append(list, item)
	}
	return list, nil
}
