package lineage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"seuss/lineage/nodefile"
)

// scanner fills a Store from its directory when it is opened.
type scanner struct{ *Store }

// found is a node file as a scan of the directory finds it.
type found struct {
	id    string
	meta  *nodefile.Metadata
	raw   []byte // the metadata as the cache has it, nil if it cannot
	stamp nodefile.Stamp
	bytes uint64
	links []link
	err   error
}

// scanNodes reads header and metadata of every node file, in the order of ids, or
// takes the metadata from the cache.
func (s scanner) scanNodes() ([]found, error) {
	d, err := os.Open(s.path(nodesDir))
	if errors.Is(err, fs.ErrNotExist) && s.readOnly {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var nodes []found
	var loading []string // ids of loading sets
	links := map[string][]uint32{}
	for _, name := range names {
		if id, ok := strings.CutSuffix(name, nodeSuffix); ok && nodefile.ValidDigest(id) { // else not ours
			nodes = append(nodes, found{id: id})
		} else if id, ok := strings.CutSuffix(name, loadingSuffix); ok {
			loading = append(loading, id)
		} else if id, ordinal, ok := parseLink(name); ok {
			links[id] = append(links[id], ordinal)
		}
	}
	slices.SortFunc(nodes, func(a, b found) int { return strings.Compare(a.id, b.id) })
	s.sweepLoading(loading, nodes)
	// Reading is as much waiting as computing: every processor takes a share.
	cache := s.readCache()
	order := statOrder(nodes, cache)
	var next, misses atomic.Int64
	var wg sync.WaitGroup
	const share = 64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				lo := int(next.Add(share)) - share
				if lo >= len(nodes) {
					return
				}
				for _, i := range order[lo:min(lo+share, len(nodes))] {
					if !s.scanNode(&nodes[i], int(d.Fd()), cache) {
						misses.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	s.settleLinks(links, nodes)
	s.writeCache(cacheEntries(nodes), int(misses.Load()), len(nodes))
	return nodes, nil
}

// cacheEntries is what the cache is to have of a scan.
func cacheEntries(nodes []found) []nodefile.CacheEntry {
	entries := make([]nodefile.CacheEntry, 0, len(nodes))
	for i := range nodes {
		if n := &nodes[i]; n.raw != nil {
			entries = append(entries, nodefile.CacheEntry{ID: n.id, Stamp: n.stamp, Meta: n.raw})
		}
	}
	return entries
}

// statOrder is the order in which to look at the nodes: that of their inodes, where
// the cache knows them, because inodes that are numbered together lie together.
func statOrder(nodes []found, cache map[string]nodefile.CacheEntry) []int {
	order := make([]int, len(nodes))
	inodes := make([]uint64, len(nodes))
	for i := range nodes {
		order[i] = i
		inodes[i] = cache[nodes[i].id].Stamp.Inode
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(inodes[a], inodes[b]) })
	return order
}

// scanNode fills in what the cache or the node file in dir says, and reports
// whether the cache had it.
func (s scanner) scanNode(n *found, dir int, cache map[string]nodefile.CacheEntry) bool {
	// The stamp comes first: a file that changes while it is read then does not fit
	// the stamp that is kept.
	if n.stamp, n.err = stampAt(dir, n.id+nodeSuffix); n.err != nil {
		return false
	}
	if e, ok := cache[n.id]; ok && e.Stamp == n.stamp {
		if m, err := nodefile.DecodeEntry(n.id, e.Meta); err == nil {
			n.meta, n.raw, n.bytes = m, e.Meta, n.stamp.Size
			return true
		}
	}
	if n.meta, n.bytes, n.err = s.readNode(n.id); n.err == nil {
		n.raw = nodefile.EncodeEntry(n.meta)
	}
	return false
}

// scan fills the catalogue from the directory.
func (s scanner) scan() error {
	nodes, err := s.scanNodes()
	if err != nil {
		return err
	}
	children := map[string][]*found{}
	for i := range nodes {
		n := &nodes[i]
		if n.err != nil {
			s.damaged = append(s.damaged, Damage{s.nodePath(n.id), n.err})
			continue
		}
		children[n.meta.Parent] = append(children[n.meta.Parent], n)
	}
	hits := useCounts{s.Store}.readHits()
	// Only what hangs on a root is reachable: this leaves out the descendants of
	// a damaged node, and forged circles.
	txn := s.db.Txn(true)
	defer txn.Abort()
	type hung struct {
		n      *found
		parent *Node
	}
	var todo []hung
	for _, n := range children[""] {
		todo = append(todo, hung{n, nil})
	}
	reached := 0
	for len(todo) > 0 {
		h := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if h.parent != nil {
			h.n.meta.Inherit(&h.parent.Info)
		}
		n := &Node{Info: h.n.meta.Info}
		h.n.meta = nil // reached
		n.file.Store(&storedFile{bytes: h.n.bytes, inode: h.n.stamp.Inode, links: h.n.links})
		if use, ok := hits[n.ID]; ok {
			n.hits.Store(use.hits)
			n.savedHits.Store(use.hits)
			n.used.Store(use.used)
		}
		if err := txn.Insert(nodeTable, n); err != nil {
			return fmt.Errorf("catalogue node %s: %w", n.ID, err)
		}
		for _, child := range children[n.ID] {
			todo = append(todo, hung{child, n})
		}
		reached++
	}
	txn.Commit()
	for i := range nodes {
		if n := &nodes[i]; n.err == nil && n.meta != nil {
			s.damaged = append(s.damaged, Damage{s.nodePath(n.id), fmt.Errorf("node %s: parent %s: %w", n.id, n.meta.Parent, ErrOrphan)})
		}
	}
	return nil
}

// readNode reads header and metadata of a node file.
func (s scanner) readNode(id string) (*nodefile.Metadata, uint64, error) {
	f, h, err := openNodeFile(s.nodePath(id))
	if err != nil {
		return nil, 0, fmt.Errorf("node %s: %w", id, err)
	}
	defer f.Close()
	b, err := h.ReadSection(f, nodefile.SectionMetadata)
	if err != nil {
		return nil, 0, fmt.Errorf("node %s: %w", id, err)
	}
	m, err := nodefile.DecodeMetadata(b)
	if err == nil && m.ID != id {
		err = fmt.Errorf("the file holds node %s: %w", m.ID, nodefile.ErrIdentity)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("node %s: %w", id, err)
	}
	return m, h.Total, nil
}
