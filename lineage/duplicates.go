package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"seuss/lineage/nodefile"
)

// blockBytes is the part of a page that Duplicates compares below pages: a cache
// line, the size of a few objects.
const blockBytes = 64

// Duplicates says how much of what nodes hold is the same in several of them. Image
// nodes are left out, zero pages are no pages, and within one node equal pages are
// one.
type Duplicates struct {
	Pages         uint64 `json:"pages"`          // that nodes hold
	SharedPages   uint64 `json:"shared_pages"`   // of these, those that lie in a sibling's file
	DistinctPages uint64 `json:"distinct_pages"` // of different content
	// Blocks of 64 bytes in these pages that differ from the parent's page: what the
	// form "differences" stores, in coarser units.
	Blocks         uint64 `json:"blocks"`
	DistinctBlocks uint64 `json:"distinct_blocks"`
}

// FindDuplicates loads every node, one after the other, and compares what they store
// by content. each, which may be nil, is called after every node.
func (s Inspection) FindDuplicates(ctx context.Context, each func(done, total int)) (d Duplicates, err error) {
	if err := s.store.usable(); err != nil {
		return d, fmt.Errorf("duplicates: %w", err)
	}
	pages, blocks := map[nodefile.Digest]struct{}{}, map[uint64]struct{}{}
	seed := maphash.MakeSeed()
	nodes := s.store.List()
	for i, n := range nodes {
		if err := ctx.Err(); err != nil {
			return d, fmt.Errorf("duplicates: cancelled after %d of %d nodes: %w", i, len(nodes), err)
		}
		if n.Kind == nodefile.KindImage {
			continue
		}
		if err := s.eachStored(n, func(content, old []byte, shared bool) {
			d.Pages++
			if shared {
				d.SharedPages++
			}
			pages[nodefile.PageDigest(content)] = struct{}{}
			for at := 0; at < nodefile.PageSize; at += blockBytes {
				if block := content[at : at+blockBytes]; !bytes.Equal(block, old[at:at+blockBytes]) {
					d.Blocks++
					blocks[maphash.Bytes(seed, block)] = struct{}{}
				}
			}
		}); err != nil {
			return d, fmt.Errorf("duplicates: %w", err)
		}
		if each != nil {
			each(i+1, len(nodes))
		}
	}
	d.DistinctPages, d.DistinctBlocks = uint64(len(pages)), uint64(len(blocks))
	return d, nil
}

// eachStored calls f with each page that a node holds, the parent's page that it was
// compared with, and whether it lies in a sibling's file.
func (s Inspection) eachStored(n *Node, f func(content, old []byte, shared bool)) error {
	l, err := loader{s.store}.load(n)
	if err != nil {
		return err
	}
	parent, err := s.store.Snapshot(n.Parent)
	if err != nil {
		return err
	}
	file, h, err := openNodeFile(s.store.nodePath(n.ID))
	if err != nil {
		return err
	}
	defer file.Close()
	x, err := nodefile.ReadIndex(file, h, &n.Info)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.ID, err)
	}
	uses, err := x.FirstUses()
	if err != nil {
		return fmt.Errorf("node %s: %w", n.ID, err)
	}
	for page, guest := range uses {
		if err := errors.Join(l.view.Check(guest, 1), parent.View.Check(guest, 1)); err != nil {
			return err
		}
		shared := false
		x.EachPlace(uint64(page), 1, func(_, _ uint64, donor int, _ uint64) { shared = donor != nodefile.OwnFile })
		f(nodefile.OrZero(l.view.Bytes(guest)), nodefile.OrZero(parent.View.Bytes(guest)), shared)
	}
	return nil
}
