package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// remover takes nodes out of catalogue and directory.
type remover struct{ *Store }

// Remove deletes the node with this exact id. A node with descendants is refused
// with an error that matches ErrHasChildren and names them, unless cascade is
// set: then they are deleted too, leaves first, so that an interruption leaves a
// smaller tree and no orphans. If one of them is pinned or tagged, nothing is
// deleted and the error matches ErrPinned.
//
// Views in use stay valid. Their memory and disk space are released when the
// last of them is gone; that of pages that siblings refer to when the last of these is
// removed too. The image file of an image node is left in place.
func (s *Store) Remove(id string, cascade bool) error {
	if err := (remover{s}).remove(id, cascade); err != nil {
		return fmt.Errorf("remove node %s: %w", id, err)
	}
	return nil
}

func (s remover) remove(id string, cascade bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	c := s.catalogue()
	n := c.lookup(id)
	if n == nil {
		return ErrNotFound
	}
	doomed := []*Node{n} // parents before children
	for i := 0; i < len(doomed); i++ {
		doomed = append(doomed, c.Children(doomed[i].ID)...)
	}
	if len(doomed) > 1 && !cascade {
		return fmt.Errorf("%s: %w", nameNodes(doomed[1:]), ErrHasChildren)
	}
	kept := kept(c.Marks(), time.Now())
	for _, d := range doomed {
		if why := kept[d.ID]; why != "" {
			return fmt.Errorf("%s is %s: %w", nameNodes([]*Node{d}), why, ErrPinned)
		}
	}
	slices.Reverse(doomed)
	return s.removeNodes(doomed)
}

// removeNodes deletes nodes, leaves first, with their marks. It needs s.mu.
func (s remover) removeNodes(doomed []*Node) error {
	// Out of the catalogue first: who finds a node there finds its file.
	txn := s.db.Txn(true)
	defer txn.Abort()
	marks := 0
	for _, n := range doomed {
		if err := txn.Delete(nodeTable, n); err != nil {
			return fmt.Errorf("catalogue: %w", err)
		}
		m, err := txn.DeleteAll(markTable, nodeIndex, n.ID)
		if err != nil {
			return fmt.Errorf("catalogue: %w", err)
		}
		marks += m
	}
	txn.Commit()
	for _, n := range doomed {
		s.changes.told(n)
	}
	var failed error
	for i, n := range doomed {
		if err := s.fs.Remove(s.nodePath(n.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(fmt.Errorf("delete the file of %s: %w", n.ID, err), s.putBack(doomed[i:]))
			break
		}
		s.hot.forget(n)
		s.goneUses = s.goneUses || n.savedHits.Load() > 0
		sharer{s.Store}.removeLinks(n.ID, n.file.Load().links)
		// What is left of it after a failure is swept by the next Open.
		_ = os.Remove(s.loadingPath(n.ID))
		s.removed.Add(1)
		if n.Kind == KindImport {
			s.noImports.Add(1)
		}
	}
	if err := s.fs.SyncDir(s.path(nodesDir)); err != nil {
		failed = errors.Join(failed, fmt.Errorf("sync directory %s: %w", s.path(nodesDir), err))
	}
	if marks > 0 {
		left := map[string]*Mark{}
		for _, m := range s.catalogue().Marks() {
			left[m.key()] = m
		}
		// The marks of a node that is gone are ignored when they are read.
		_ = Marks{s.Store}.storeMarks(left)
	}
	return failed
}

// Removed is how many nodes have been removed since Open, by whatever call, and how many of
// them were import nodes.
func (s *Store) Removed() (all, imports uint64) {
	imports = s.noImports.Load()
	return s.removed.Load(), imports
}

// putBack catalogues nodes whose files could not be deleted.
func (s remover) putBack(nodes []*Node) error {
	txn := s.db.Txn(true)
	defer txn.Abort()
	for _, n := range nodes {
		if err := txn.Insert(nodeTable, n); err != nil {
			return fmt.Errorf("catalogue: %w", err)
		}
	}
	txn.Commit()
	for _, n := range nodes {
		s.changes.told(n)
	}
	return nil
}

// removeDamaged deletes the node files that Open left out. Those of an unknown
// version are damaged to this program too: the caller has asked for it.
func (s remover) removeDamaged(dryRun bool, report *GCReport) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []Damage
	for i, d := range s.damaged {
		size, err := fileSize(d.Path)
		if err == nil && !dryRun {
			if err = s.fs.Remove(d.Path); err == nil {
				sharer{s.Store}.removeLinksOf(strings.TrimSuffix(filepath.Base(d.Path), nodeSuffix))
			}
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			s.damaged = append(left, s.damaged[i:]...)
			return fmt.Errorf("delete %s: %w", d.Path, err)
		case dryRun:
			left = append(left, d)
		}
		report.Removed = append(report.Removed, Evicted{Path: d.Path, Bytes: size, Reason: "damaged"})
		report.BytesFreed += size
	}
	s.damaged = left
	return nil
}
