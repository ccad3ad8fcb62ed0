package lineage

import "fmt"

// nodeWriter is a node file on its way: header space first, then data.
type nodeWriter struct{ *pending }

func (s *Store) newNodeWriter() (nodeWriter, error) {
	p, err := s.newPending(s.path(nodesDir))
	if err != nil {
		return nodeWriter{}, err
	}
	// The header's place is held by zeroes, which are no valid magic: a torn
	// file can never pass for a node.
	if n, err := p.Write(make([]byte, headerBytes)); err != nil {
		p.discard()
		return nodeWriter{}, fmt.Errorf("write header of %s: wrote %d of %d bytes: %w", p.Name(), n, headerBytes, err)
	}
	return nodeWriter{p}, nil
}

// complete writes what follows the data, then the header, and syncs the file.
func (w nodeWriter) complete(info *Info, state, index []byte, sums uint32, dataBytes uint64) error {
	meta, err := encodeInfo(info)
	if err != nil {
		return err
	}
	h := header{total: headerBytes}
	put := func(id sectionID, length uint64, crc uint32) {
		h.sections[id] = section{offset: h.total, length: length, crc: crc}
		h.total += length
	}
	put(sectionData, dataBytes, sums)
	for _, part := range []struct {
		id   sectionID
		data []byte
	}{{sectionMetadata, meta}, {sectionState, state}, {sectionIndex, index}} {
		put(part.id, uint64(len(part.data)), checksum(part.data))
		if n, err := w.Write(part.data); err != nil {
			return fmt.Errorf("write %v section of %s: wrote %d of %d bytes: %w", part.id, w.Name(), n, len(part.data), err)
		}
	}
	if n, err := w.WriteAt(h.encode(), 0); err != nil {
		return fmt.Errorf("write header of %s: wrote %d of %d bytes: %w", w.Name(), n, headerBytes, err)
	}
	return w.sync()
}

// sealNode completes a node file whose data is written, reads it back, and puts
// the node into directory and catalogue. parent is nil for an image node.
func (s *Store) sealNode(w nodeWriter, info *Info, state []byte, x *pageIndex, parent *loadedNode) (*Node, error) {
	index := x.encode()
	info.ID = nodeID(info, state, index)
	if n := s.lookup(info.ID); n != nil {
		_, err := s.load(n)
		return n, err
	}
	if err := w.complete(info, state, index, checksum(x.encodeSums()), info.DeltaBytes); err != nil {
		return nil, err
	}
	// Reading back what was written shows a damaged file while the guest that
	// could be captured again still exists.
	l, err := s.openNode(w.Name(), info, parent, nil)
	if err != nil {
		return nil, fmt.Errorf("read back %s: %w", w.Name(), err)
	}
	fresh := &Node{Info: *info}
	fresh.setLoaded(l)
	n, err := s.publishNode(w, fresh)
	if err != nil || n == fresh {
		return n, err
	}
	_, err = s.load(n)
	return n, err
}

// publishNode makes a completed node visible, in the directory first. It returns
// the node that is known already if another capture of the same was faster.
func (s *Store) publishNode(w nodeWriter, n *Node) (*Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return nil, err
	}
	if known := s.lookup(n.ID); known != nil {
		return known, nil
	}
	if n.Parent != "" && s.lookup(n.Parent) == nil {
		return nil, fmt.Errorf("parent was removed meanwhile: %w", ErrNotFound)
	}
	txn := s.db.Txn(true)
	defer txn.Abort()
	if err := txn.Insert(nodeTable, n); err != nil {
		return nil, fmt.Errorf("catalogue node %s: %w", n.ID, err)
	}
	if err := w.publish(s.nodePath(n.ID)); err != nil {
		return nil, err
	}
	txn.Commit()
	return n, nil
}
