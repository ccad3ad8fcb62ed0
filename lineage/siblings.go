package lineage

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"seuss/lineage/nodefile"
)

// siblings finds pages of a new node in files of nodes with the same parent, by a part
// of their digests. What it says is a hint: files may go and change at any time, and
// two pages may share that part, so whoever uses a page makes sure first. Tables are
// made when somebody asks, from the indexes of the files.
type siblings struct {
	mu     sync.Mutex // below Store.mu and Node.mu; neither is taken with it
	tables []*siblingTable
}

const (
	// maxSiblingPages bounds the pages of a table, maxTablePages those of all: some 30
	// bytes a page, 32 MiB. Of more pages the oldest nodes' are left out, of more tables
	// those that nobody has asked for.
	maxSiblingPages  = 1 << 18
	maxTablePages    = 1 << 20
	maxSiblingTables = 256
)

// siblingTable is what is known of the nodes below one parent that a new node may share
// pages with.
type siblingTable struct {
	parent string
	of     *nodefile.Info         // a node for which it was made: those of the same owner share it
	known  map[string]*storedFile // nodes that were looked at, as they were
	files  []*donorFile
	at     map[uint64]placeOf
	limit  int // pages
}

// placeOf is a page in a file's data section.
type placeOf struct {
	file uint32
	page uint32
}

// nowhere is the number of a file that is not to be shared with.
const nowhere = ^uint32(0)

// donorFile is a file that has pages of a sibling.
type donorFile struct {
	nodefile.Donor
	inode uint64
	path  string // a name that it had
}

// digestKey is the part of a digest that a table has.
func digestKey(d *nodefile.Digest) uint64 { return binary.LittleEndian.Uint64(d[:]) }

// hit is a data page of a new node that a file seems to have.
type hit struct {
	page uint64
	at   uint64 // in the file's data section
}

// offer is a file and what it seems to have.
type offer struct {
	file *donorFile
	hits []hit // ascending by page
}

// findShared returns the files that seem to have least or more of x's pages, those with
// the most first. The node's own present file is left out.
func (s sharer) findShared(info *nodefile.Info, x *nodefile.Index, least int) []offer {
	s.siblings.mu.Lock()
	defer s.siblings.mu.Unlock()
	t := s.siblings.table(info)
	t.update(s.Store)
	var not uint64 // it goes
	if n := s.lookup(info.ID); n != nil {
		not = n.file.Load().inode
	}
	hits := make([][]hit, len(t.files))
	for page := range x.Digests {
		if at, ok := t.at[digestKey(&x.Digests[page])]; ok && t.files[at.file].inode != not {
			hits[at.file] = append(hits[at.file], hit{uint64(page), uint64(at.page)})
		}
	}
	var offers []offer
	for i, h := range hits {
		if len(h) >= least {
			offers = append(offers, offer{t.files[i], h})
		}
	}
	slices.SortStableFunc(offers, func(a, b offer) int { return cmp.Compare(len(b.hits), len(a.hits)) })
	return offers
}

// table returns the table of a node's siblings, as the latest one.
func (b *siblings) table(of *nodefile.Info) *siblingTable {
	i := slices.IndexFunc(b.tables, func(t *siblingTable) bool {
		return t.parent == of.Parent && t.of.Private() == of.Private() && t.of.Key.Owner() == of.Key.Owner()
	})
	var t *siblingTable
	switch {
	case i >= 0:
		t = b.tables[i]
		b.tables = slices.Delete(b.tables, i, i+1)
	default:
		t = &siblingTable{parent: of.Parent, of: &nodefile.Info{Kind: of.Kind, Key: nodefile.Key{Function: of.Key.Function}}, limit: maxSiblingPages}
	}
	pages := 0
	keep := slices.IndexFunc(b.tables, func(t *siblingTable) bool {
		pages += len(t.at)
		return pages > maxTablePages-maxSiblingPages
	})
	if keep < 0 {
		keep = len(b.tables)
	}
	b.tables = append([]*siblingTable{t}, b.tables[:min(keep, maxSiblingTables-1)]...)
	return t
}

// update takes in new nodes, and begins anew where known ones are gone or were written
// anew, or where there is no room: then with the latest nodes, up to half of the room.
func (t *siblingTable) update(s *Store) {
	children := slices.DeleteFunc(s.catalogue().Children(t.parent), func(n *Node) bool { return !t.of.MayShare(&n.Info) })
	now := make(map[string]*storedFile, len(children))
	for _, n := range children {
		now[n.ID] = n.file.Load()
	}
	anew := t.at == nil
	for id, file := range t.known {
		anew = anew || now[id] != file
	}
	room := t.limit
	if !anew {
		pages := len(t.at)
		for _, n := range children {
			if t.known[n.ID] == nil && mayHavePages(n, now[n.ID]) {
				pages += int(n.DeltaBytes / nodefile.PageSize)
			}
		}
		if pages > t.limit {
			anew, room = true, t.limit/2
		}
	}
	if anew {
		*t = siblingTable{parent: t.parent, of: t.of, known: map[string]*storedFile{}, at: map[uint64]placeOf{}, limit: t.limit}
	}
	slices.SortStableFunc(children, func(a, b *Node) int { return b.Created.Compare(a.Created) })
	for _, n := range children {
		if file := now[n.ID]; t.known[n.ID] == nil {
			t.known[n.ID] = file
			if mayHavePages(n, file) && len(t.at)+int(n.DeltaBytes/nodefile.PageSize) <= room {
				_ = t.add(s, n, file) // a node that cannot be read gives nothing
			}
		}
	}
}

// mayHavePages tells without a look at the file whether it is in the form "pages":
// differences take less, or are not worth the look.
func mayHavePages(n *Node, file *storedFile) bool {
	return n.Kind != nodefile.KindImage && n.DeltaBytes >= leastShared*nodefile.PageSize && (len(file.links) > 0 || file.bytes > n.DeltaBytes)
}

// add takes in the pages of a node: those of its file, and those that it has with
// donors, whose nodes may be gone.
func (t *siblingTable) add(s *Store, n *Node, file *storedFile) error {
	f, h, err := openNodeFile(s.nodePath(n.ID))
	if err != nil {
		return err
	}
	defer f.Close()
	if h.Form != nodefile.FormPages {
		return nil
	}
	x, err := nodefile.ReadIndex(f, h, &n.Info)
	if err != nil {
		return err
	}
	own := t.file(&donorFile{nodefile.Donor{Length: h.Total, CRC: h.CRC, ID: n.ID}, file.inode, s.nodePath(n.ID)})
	var with []uint32
	if x.Donors != nil {
		for _, d := range x.Donors.List {
			i := slices.IndexFunc(file.links, func(l link) bool { return l.ordinal == d.Ordinal })
			if i < 0 {
				return fmt.Errorf("link %d: %w", d.Ordinal, ErrNotFound)
			}
			if donor := s.lookup(d.ID); donor == nil && t.of.Key.Owner() != "" || donor != nil && !t.of.MayShare(&donor.Info) {
				with = append(with, nowhere) // an earlier release shared between owners of today
				continue
			}
			with = append(with, t.file(&donorFile{d, file.links[i].inode, s.linkPath(n.ID, d.Ordinal)}))
		}
	}
	x.EachPlace(0, x.DataPages, func(at, count uint64, donor int, page uint64) {
		in := own
		if donor != nodefile.OwnFile {
			in = with[donor]
		}
		if in == nowhere {
			return
		}
		for i := range count {
			key := digestKey(&x.Digests[at+i])
			if _, ok := t.at[key]; !ok {
				t.at[key] = placeOf{in, uint32(page + i)}
			}
		}
	})
	return nil
}

// file returns the number of a file, by its inode.
func (t *siblingTable) file(f *donorFile) uint32 {
	i := slices.IndexFunc(t.files, func(known *donorFile) bool { return known.inode == f.inode })
	if i < 0 {
		i = len(t.files)
		t.files = append(t.files, f)
	}
	return uint32(i)
}
