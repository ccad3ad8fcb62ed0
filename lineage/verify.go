package lineage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed"
)

// Inspection looks at what is stored, and changes nothing: whether it is what was
// sealed, what it takes, and what differs.
type Inspection struct{ store *Store }

// Inspect returns what looks at what is stored.
func (s *Store) Inspect() Inspection { return Inspection{s} }

// Fault is something that Audit found wrong.
type Fault struct {
	Node string `json:"node,omitempty"` // id; empty where the fault is in no known node
	Path string `json:"path,omitempty"` // of the file
	// Guest names the guest pages that show a damaged page, empty where the fault
	// is in no page.
	Guest string `json:"guest,omitempty"`
	Err   error  `json:"-"`
}

func (f Fault) Error() string { return f.Err.Error() }
func (f Fault) Unwrap() error { return f.Err }

// maxPageFaults bounds the pages that one node's audit names.
const maxPageFaults = 16

// Verify reads a node from disk again, page data or image file included, compares
// every page with its checksum and digest, and recomputes root and id: it finds
// damage and files that are consistent but not what was captured. Of a node that
// is stored as differences it also finds damage in the ancestors' pages that it
// needs. The error names the first thing that is wrong.
func (s Inspection) Verify(id string) error {
	if err := s.store.usable(); err != nil {
		return fmt.Errorf("verify node %s: %w", id, err)
	}
	n := s.store.lookup(id)
	if n == nil {
		if _, err := os.Lstat(s.store.nodePath(id)); err != nil {
			return fmt.Errorf("verify node %s: %w", id, ErrNotFound)
		}
		_, _, err := scanner{s.store}.readNode(id)
		return fmt.Errorf("verify: %w", errors.Join(err, ErrNotFound))
	}
	if faults := s.verifyNode(n); len(faults) > 0 {
		return fmt.Errorf("verify node %s: %w", id, faults[0].Err)
	}
	return nil
}

// verifyOnce is Verify of a node in the catalogue, and names more than one page.
func (s Inspection) verifyOnce(n *Node) (faults []Fault) {
	path := s.store.nodePath(n.ID)
	fault := func(err error) []Fault {
		f := Fault{Node: n.ID, Path: path, Err: err}
		var page *pages.PageError
		if errors.As(err, &page) {
			f.Guest = page.Guest
		}
		return append(faults, f)
	}
	f, h, err := openNodeFile(path)
	if err != nil {
		return fault(err)
	}
	defer f.Close()
	m, err := nodefile.ReadInfo(f, h, n.ID)
	if err != nil {
		return fault(err)
	}
	if n.Parent != "" && m.Parent == n.Parent {
		if parent := s.store.lookup(n.Parent); parent != nil {
			m.Inherit(&parent.Info)
		}
	}
	if !sameInfo(&m.Info, &n.Info) {
		return fault(fmt.Errorf("the metadata is not what the catalogue has: %w", nodefile.ErrIdentity))
	}
	report := func(e *pages.PageError) {
		if len(faults) < maxPageFaults {
			faults = fault(e)
		}
	}
	if err := s.verifyContent(f, h, &m.Info, report); err != nil && len(faults) == 0 {
		return fault(err)
	}
	return faults
}

// verifyNode is verifyOnce of a node that may be written anew meanwhile.
func (s Inspection) verifyNode(n *Node) (faults []Fault) {
	_ = loader{s.store}.whileRewritten(n, func() error {
		if faults = s.verifyOnce(n); len(faults) > 0 {
			return faults[0].Err
		}
		return nil
	})
	return faults
}

// verifyContent checks everything in a node file against the metadata, which is
// complete, and this against the id. It reports damaged pages, and returns an
// error where something is wrong.
func (s Inspection) verifyContent(f *os.File, h *nodefile.Header, info *nodefile.Info, report func(*pages.PageError)) error {
	x, err := nodefile.ReadIndex(f, h, info)
	if err != nil {
		return err
	}
	var state []byte
	var leaves []nodefile.Digest
	var bad error
	each := func(e *pages.PageError) {
		bad = cmp.Or(bad, error(e))
		report(e)
	}
	if h.Form == nodefile.FormDifferences {
		state, leaves, err = s.expandedLeaves(f, h, x, info, each)
	} else {
		state, leaves, err = s.storedLeaves(f, h, x, info, each)
	}
	if err = cmp.Or(err, bad); err != nil {
		return err
	}
	if got := x.Root(leaves).String(); got != info.Root {
		return fmt.Errorf("the pages have the root %s, sealed as %s: %w", got, info.Root, nodefile.ErrIdentity)
	}
	if got := nodefile.NodeID(info, state, x); got != info.ID {
		return fmt.Errorf("content has the id %s: %w", got, nodefile.ErrIdentity)
	}
	return nil
}

// verifyFile is verifyContent of the node file at path.
func (s Inspection) verifyFile(path string, info *nodefile.Info) error {
	f, h, err := openNodeFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.verifyContent(f, h, info, func(*pages.PageError) {})
}

// sameInfo compares all that a file says.
func sameInfo(a, b *nodefile.Info) bool {
	x := *a
	x.Created = b.Created
	return a.Created.Equal(b.Created) && reflect.DeepEqual(&x, b)
}

func (s Inspection) storedLeaves(f *os.File, h *nodefile.Header, x *nodefile.Index, n *nodefile.Info, report func(*pages.PageError)) ([]byte, []nodefile.Digest, error) {
	state, err := h.ReadSection(f, nodefile.SectionState)
	if err != nil {
		return nil, nil, err
	}
	var blob *pages.Blob
	if n.Kind == nodefile.KindImage {
		if blob, err = (loader{s.store}).openImage(n.ImageDigest, x, pages.VerifyLazy); err == nil {
			err = s.verifyLayers(n.ImageDigest)
		}
	} else {
		var data *os.File
		if data, err = os.Open(f.Name()); err != nil { // a blob owns its file
			return nil, nil, err
		}
		blob, err = pages.Open(pages.VerifyLazy, false, "of node "+n.ID, data, int64(h.Sections[nodefile.SectionData].Offset), x.Own())
	}
	if err != nil {
		return nil, nil, err
	}
	leaves, err := blob.Leaves(report)
	if err == nil && x.Donors != nil {
		leaves, err = loader{s.store}.donorLeaves(x, n.ID, leaves, report)
	}
	return state, leaves, err
}

func (s Inspection) expandedLeaves(f *os.File, h *nodefile.Header, x *nodefile.Index, n *nodefile.Info, report func(*pages.PageError)) ([]byte, []nodefile.Digest, error) {
	data, err := h.ReadSection(f, nodefile.SectionData)
	if err != nil {
		return nil, nil, err
	}
	parent, err := s.store.Snapshot(n.Parent)
	if err == nil && parent.View.Pages() != x.GuestPages {
		err = fmt.Errorf("%d guest pages, the parent has %d: %w", x.GuestPages, parent.View.Pages(), nodefile.ErrFormat)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("its differences cannot be applied: %w", err)
	}
	d, err := nodefile.ParseDifferences(h.Version, data, x.DataPages)
	if err == nil {
		err = d.Unpack(nil)
	}
	if err != nil {
		return nil, nil, err
	}
	p, err := pages.NewPatches(d, x, parent.View)
	if err != nil {
		return nil, nil, err
	}
	var leaves []nodefile.Digest
	var content [nodefile.PageSize]byte
	for page := range x.DataPages {
		p.CopyPage(content[:], page)
		leaves = append(leaves, nodefile.PageDigest(content[:]))
		if why := nodefile.Mismatch(content[:], x.Sums[page]); why != "" {
			report(&pages.PageError{Where: "of node " + n.ID, Page: page, Guest: x.GuestRuns(page, 1), Why: why})
		}
	}
	return d.State(parent.State), leaves, nil
}

// Audit verifies the nodes of these ids, or all, and then also compares the
// catalogue with the directory: damaged and unknown files, nodes without one. It
// calls each, which may be nil, after every node. Of a Store that is read-only,
// what a writer changes meanwhile shows up as faults too.
func (s Inspection) Audit(ctx context.Context, ids []string, each func(done, total int)) ([]Fault, error) {
	if err := s.store.usable(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	var nodes []*Node
	for _, id := range ids {
		n, err := s.store.Get(id)
		if err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		nodes = append(nodes, n)
	}
	var faults []Fault
	if len(ids) == 0 {
		nodes = s.store.List()
		var err error
		if faults, err = s.compare(nodes); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
	}
	for i, n := range nodes {
		if err := ctx.Err(); err != nil {
			return faults, fmt.Errorf("verify: cancelled after %d of %d nodes: %w", i, len(nodes), err)
		}
		faults = append(faults, s.verifyNode(n)...)
		if each != nil {
			each(i+1, len(nodes))
		}
	}
	return faults, nil
}

// compare finds what the directory holds and the catalogue of nodes does not.
// Nodes without a file are found as their files are opened.
func (s Inspection) compare(nodes []*Node) (faults []Fault, err error) {
	known := map[string]bool{}
	for _, n := range nodes {
		known[n.ID] = true
	}
	damaged := map[string]error{}
	for _, d := range s.store.damaged {
		damaged[d.Path] = d.Err
	}
	entries, err := os.ReadDir(s.store.path(nodesDir))
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && s.store.readOnly) {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(s.store.path(nodesDir), e.Name())
		id, isNode := strings.CutSuffix(e.Name(), nodeSuffix)
		switch {
		case isNode && known[id] || sealed.IsTemp(e.Name()):
			// Temporary files belong to the writer.
		case scanner{s.store}.isLoadingSet(e.Name(), known): // a hint
		case isLink(e.Name()): // those that a node needs are verified with it
		case damaged[path] != nil:
			faults = append(faults, Fault{Path: path, Err: damaged[path]})
		case isNode && nodefile.ValidDigest(id):
			if _, err := os.Lstat(path); err != nil {
				continue // removed meanwhile
			}
			faults = append(faults, Fault{Path: path, Err: fmt.Errorf("node %s is on disk and not in the catalogue: %w", id, nodefile.ErrIdentity)})
		default:
			faults = append(faults, Fault{Path: path, Err: fmt.Errorf("%s is no node file by its name: %w", e.Name(), nodefile.ErrFormat)})
		}
	}
	return faults, nil
}
