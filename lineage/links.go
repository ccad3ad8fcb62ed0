package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
)

// A node's hard links to the files of its donors lie beside it as
// <id>.from-<ordinal>. They are made and synced before the node's file names them,
// and removed after it: a crash leaves links that no node file names, which the next
// Open removes.
const linkInfix = ".from-"

// storedFile is what a node has on disk. It never changes.
type storedFile struct {
	bytes, inode uint64
	links        []link // of its donors, by ordinal
}

// link is a node's link to the file of a donor.
type link struct {
	ordinal      uint32
	bytes, inode uint64 // of the donor's file
}

func linkName(id string, ordinal uint32) string {
	return id + linkInfix + strconv.FormatUint(uint64(ordinal), 10)
}

func (s *Store) linkPath(id string, ordinal uint32) string {
	return s.path(nodesDir, linkName(id, ordinal))
}

// parseLink reads what linkName writes.
func parseLink(name string) (id string, ordinal uint32, ok bool) {
	id, text, ok := strings.Cut(name, linkInfix)
	if !ok || !nodefile.ValidDigest(id) {
		return "", 0, false
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n >= nodefile.MaxLinks || strconv.FormatUint(n, 10) != text {
		return "", 0, false
	}
	return id, uint32(n), true
}

func isLink(name string) bool {
	_, _, ok := parseLink(name)
	return ok
}

// isDonor reports whether other nodes have pages in this node's file.
func (s sharer) isDonor(n *Node) bool { return holders(s.List())[n.stored().inode] > 1 }

// statFile describes a file: its size and inode.
func statFile(path string) (bytes, inode uint64, err error) {
	st, err := stampAt(unix.AT_FDCWD, path)
	return st.Size, st.Inode, err
}

// newStoredFile describes the node file that has just been written at path, and the
// links that it names.
func (s sealer) newStoredFile(path, id string, d *nodefile.Donors) (*storedFile, error) {
	f := &storedFile{}
	var err error
	if f.bytes, f.inode, err = statFile(path); err != nil || d == nil {
		return f, err
	}
	for _, donor := range d.List {
		l := link{ordinal: donor.Ordinal, bytes: donor.Length}
		if _, l.inode, err = statFile(s.linkPath(id, l.ordinal)); err != nil {
			return nil, err
		}
		f.links = append(f.links, l)
	}
	return f, nil
}

// addLink gives the file at from a further name, the first one of the node's links
// that is free.
func (s sharer) addLink(from, id string) (ordinal uint32, err error) {
	for ordinal = range uint32(nodefile.MaxLinks) {
		if err = s.fs.Link(from, s.linkPath(id, ordinal)); !errors.Is(err, fs.ErrExist) {
			return ordinal, err
		}
	}
	return 0, err
}

// removeLinks takes links away. What stays is removed by the next Open.
func (s sharer) removeLinks(id string, links []link) {
	for _, l := range links {
		_ = s.fs.Remove(s.linkPath(id, l.ordinal))
	}
}

// settleLinks takes what a scan has found of links: it notes those that node files
// name, and removes the others, which an interrupted write or removal has left. The
// links of a node file that cannot be read stay with it.
func (s scanner) settleLinks(names map[string][]uint32, nodes []found) {
	for id, ordinals := range names {
		at, ok := slices.BinarySearchFunc(nodes, id, func(n found, id string) int { return strings.Compare(n.id, id) })
		var named []link
		if ok {
			n := &nodes[at]
			if n.err != nil {
				continue
			}
			d, err := loader{s.Store}.donorsOf(n.meta)
			if err != nil {
				continue // loading it says why
			}
			for _, donor := range d.List {
				l := link{ordinal: donor.Ordinal, bytes: donor.Length}
				if _, l.inode, err = statFile(s.linkPath(id, l.ordinal)); err == nil { // else loading it says so
					named = append(named, l)
				}
			}
			n.links = named
		}
		for _, ordinal := range ordinals {
			if !s.readOnly && !slices.ContainsFunc(named, func(l link) bool { return l.ordinal == ordinal }) {
				_ = os.Remove(s.linkPath(id, ordinal)) // the next Open tries again
			}
		}
	}
}

// donorsOf reads the donors of a node from its file; none if it has none.
func (s loader) donorsOf(m *nodefile.Metadata) (*nodefile.Donors, error) {
	f, h, err := openNodeFile(s.nodePath(m.ID))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := nodefile.ReadDonors(f, h, m.DeltaBytes/nodefile.PageSize)
	if d == nil && err == nil {
		d = &nodefile.Donors{}
	}
	return d, err
}

// Donor is a snapshot in whose file another one has pages.
type Donor struct {
	ID    string `json:"id"`    // the snapshot itself may be gone
	Pages uint64 `json:"pages"` // of the other one's that lie there
}

// Donors returns the siblings in whose files a node has pages, which are stored once;
// none for most nodes.
func (s Inspection) Donors(n *Node) ([]Donor, error) {
	if len(n.stored().links) == 0 {
		return nil, nil
	}
	d, err := loader{s.store}.donorsOf(&nodefile.Metadata{Info: n.Info})
	if err != nil {
		return nil, fmt.Errorf("donors of node %s: %w", n.ID, err)
	}
	list := make([]Donor, len(d.List))
	for i := range list {
		list[i] = Donor{d.List[i].ID, d.PagesOf(i)}
	}
	return list, nil
}

// removeLinksOf removes all links of a node whose file could not be read, after that
// file.
func (s sharer) removeLinksOf(id string) {
	entries, err := os.ReadDir(s.path(nodesDir))
	if err != nil {
		return // the next Open removes them
	}
	for _, e := range entries {
		if of, ordinal, ok := parseLink(e.Name()); ok && of == id {
			_ = s.fs.Remove(s.linkPath(id, ordinal))
		}
	}
}

// holders counts, for each file of nodes, how many nodes hold it: the one whose file
// it is, and those that have a link to it. What nobody holds any more is gone.
func holders(nodes []*Node) map[uint64]int {
	count := make(map[uint64]int, len(nodes))
	for _, n := range nodes {
		n.stored().each(func(inode, _ uint64) { count[inode]++ })
	}
	return count
}

// each calls f with every file that a node holds.
func (f *storedFile) each(do func(inode, bytes uint64)) {
	do(f.inode, f.bytes)
	for _, l := range f.links {
		do(l.inode, l.bytes)
	}
}

// freed is what removing the node would free: its file and its donors' files, as far
// as no other node holds them.
func (f *storedFile) freed(holders map[uint64]int) (n uint64) {
	f.each(func(inode, bytes uint64) {
		if holders[inode] == 1 {
			n += bytes
		}
	})
	return n
}

// DiskBytes returns the size of all files of nodes, each counted once: node files, and
// files of nodes that are gone as long as others have pages in them. Images are not
// among them.
func (s *Store) DiskBytes() uint64 { return diskBytes(s.List()) }

func diskBytes(nodes []*Node) (sum uint64) {
	seen := make(map[uint64]bool, len(nodes))
	for _, n := range nodes {
		n.stored().each(func(inode, bytes uint64) {
			if !seen[inode] {
				seen[inode] = true
				sum += bytes
			}
		})
	}
	return sum
}

// errLink says what a link should be.
func errLink(d *nodefile.Donor, pages uint64, err error) error {
	return fmt.Errorf("%d of its pages lie in the file of node %.12s, link %d: %w", pages, d.ID, d.Ordinal, err)
}
