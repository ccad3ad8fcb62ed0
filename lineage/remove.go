package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Remove deletes the node with this exact id. A node with descendants is refused
// with an error that matches ErrHasChildren and names them, unless cascade is
// set: then they are deleted too, leaves first, so that an interruption leaves a
// smaller tree and no orphans.
//
// Views in use stay valid. Their memory and disk space are released when the
// last of them is gone. The image file of an image node is left in place.
func (s *Store) Remove(id string, cascade bool) error {
	if err := s.remove(id, cascade); err != nil {
		return fmt.Errorf("remove node %s: %w", id, err)
	}
	return nil
}

func (s *Store) remove(id string, cascade bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	n := s.lookup(id)
	if n == nil {
		return ErrNotFound
	}
	doomed := []*Node{n} // parents before children
	for i := 0; i < len(doomed); i++ {
		doomed = append(doomed, s.Children(doomed[i].ID)...)
	}
	if len(doomed) > 1 && !cascade {
		return fmt.Errorf("%s: %w", nameNodes(doomed[1:]), ErrHasChildren)
	}
	slices.Reverse(doomed)
	// Out of the catalogue first: who finds a node there finds its file.
	txn := s.db.Txn(true)
	defer txn.Abort()
	for _, n := range doomed {
		if err := txn.Delete(nodeTable, n); err != nil {
			return fmt.Errorf("catalogue: %w", err)
		}
	}
	txn.Commit()
	var failed error
	for i, n := range doomed {
		if err := s.fs.remove(s.nodePath(n.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(fmt.Errorf("delete the file of %s: %w", n.ID, err), s.putBack(doomed[i:]))
			break
		}
		s.hot.forget(n)
	}
	if err := s.fs.syncDir(s.path(nodesDir)); err != nil {
		failed = errors.Join(failed, fmt.Errorf("sync directory %s: %w", s.path(nodesDir), err))
	}
	return failed
}

// putBack catalogues nodes whose files could not be deleted.
func (s *Store) putBack(nodes []*Node) error {
	txn := s.db.Txn(true)
	defer txn.Abort()
	for _, n := range nodes {
		if err := txn.Insert(nodeTable, n); err != nil {
			return fmt.Errorf("catalogue: %w", err)
		}
	}
	txn.Commit()
	return nil
}
