package lineage

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"time"

	"seuss/lineage/nodefile"
)

// use is what the hits file says about a node.
type use struct {
	hits uint64
	used int64 // Unix seconds
}

// hitsHeader begins the hits file; a line "id hits used" a node follows.
const hitsHeader = "seuss hits 1"

// readHits reads the stored use counts. They are hints: what cannot be read is
// left out, and a lost count is no damage.
func (s *Store) readHits() map[string]use {
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
	return s.flushHits()
}

func (s *Store) flushHits() error {
	var b bytes.Buffer
	fmt.Fprintln(&b, hitsHeader)
	changed := false
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
	for i, n := range nodes {
		n.savedHits.Store(saved[i])
	}
	return nil
}
