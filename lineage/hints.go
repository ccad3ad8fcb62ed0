package lineage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
)

// use is what the hits file says about a node.
type use struct {
	hits uint64
	used int64 // Unix seconds
}

// useCounts keeps how often nodes were used.
type useCounts struct{ *Store }

// hitsHeader begins the hits file; a line "id hits used" a node follows.
const hitsHeader = "seuss hits 1"

// readHits reads the stored use counts. They are hints: what cannot be read is
// left out, and a lost count is no damage.
func (s useCounts) readHits() map[string]use {
	f, err := os.Open(s.path(hitsName))
	if err != nil {
		return nil
	}
	defer f.Close()
	counts := map[string]use{}
	lines := bufio.NewScanner(f)
	if !lines.Scan() || lines.Text() != hitsHeader {
		return nil
	}
	for lines.Scan() {
		var id string
		var u use
		if n, err := fmt.Sscan(lines.Text(), &id, &u.hits, &u.used); err == nil && n == 3 && nodefile.ValidDigest(id) {
			counts[id] = u
		}
	}
	return counts
}

// FlushHits writes the use counts, if one changed, and notes when. Counts are a
// hint for policies: those since the last flush are lost in a crash.
func (s *Store) FlushHits() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return fmt.Errorf("flush hits: %w", err)
	}
	return useCounts{s}.flushHits()
}

func (s useCounts) flushHits() error {
	var b bytes.Buffer
	fmt.Fprintln(&b, hitsHeader)
	changed := s.goneUses // or a node that comes back would have the uses of the one before
	now := time.Now().Unix()
	nodes := s.List()
	saved := make([]uint64, len(nodes))
	for i, n := range nodes {
		hits := n.Hits()
		saved[i] = hits
		if hits != n.savedHits.Load() {
			changed = true
			n.used.Store(now)
		}
		if hits > 0 {
			fmt.Fprintln(&b, n.ID, hits, n.used.Load())
		}
	}
	if !changed {
		return nil
	}
	if err := s.fs.WriteFile(s.path(hitsName), b.Bytes()); err != nil {
		return fmt.Errorf("store hits: %w", err)
	}
	s.goneUses = false
	for i, n := range nodes {
		n.savedHits.Store(saved[i])
	}
	return nil
}

// A node's loading set, see nodefile.LoadingSet, lies beside it as <id>.load.
const loadingSuffix = ".load"

func (s *Store) loadingPath(id string) string { return s.path(nodesDir, id+loadingSuffix) }

// LoadingSet returns a node's loading set. If there is none, or none that can be
// read, it is nil; in the second case the error says why, for whoever wants to know.
func (s *Store) LoadingSet(n *Node) (nodefile.LoadingSet, error) {
	b, err := sealed.ReadFile(s.loadingPath(n.ID), nodefile.MaxLoadingBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("loading set of node %s: %w", n.ID, err)
	}
	set, err := nodefile.DecodeLoadingSet(b, n.ID, n.GuestPages)
	if err != nil {
		return nil, fmt.Errorf("loading set of node %s: %w", n.ID, err)
	}
	return set, nil
}

// SaveLoadingSet replaces a node's loading set.
func (s *Store) SaveLoadingSet(n *Node, set nodefile.LoadingSet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.writable()
	if err == nil && s.lookup(n.ID) == nil {
		err = ErrNotFound
	}
	if err == nil && len(set) > nodefile.MaxLoadingRuns {
		set = set[:nodefile.MaxLoadingRuns]
	}
	if err == nil {
		err = s.fs.WriteFile(s.loadingPath(n.ID), nodefile.EncodeLoadingSet(n.ID, n.GuestPages, set))
	}
	if err != nil {
		return fmt.Errorf("keep the loading set of node %s: %w", n.ID, err)
	}
	return nil
}

// sweepLoading deletes the loading sets whose nodes are gone. nodes is sorted.
func (s scanner) sweepLoading(ids []string, nodes []found) {
	if s.readOnly {
		return
	}
	for _, id := range ids {
		_, ok := slices.BinarySearchFunc(nodes, id, func(n found, id string) int { return strings.Compare(n.id, id) })
		if !ok && nodefile.ValidDigest(id) {
			_ = os.Remove(s.loadingPath(id)) // a hint to nothing: the next Open tries again
		}
	}
}

// isLoadingSet reports whether a name is that of the loading set of a known node.
func (s scanner) isLoadingSet(name string, known map[string]bool) bool {
	id, ok := strings.CutSuffix(name, loadingSuffix)
	return ok && known[id]
}
