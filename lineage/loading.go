package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
)

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
func (s *Store) sweepLoading(ids []string, nodes []found) {
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
func (s *Store) isLoadingSet(name string, known map[string]bool) bool {
	id, ok := strings.CutSuffix(name, loadingSuffix)
	return ok && known[id]
}
