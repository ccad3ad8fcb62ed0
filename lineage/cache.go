package lineage

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
)

// The cache of the catalogue, see nodefile.CacheEntry, lies in the state directory.
const (
	cacheName = "catalogue"

	// A writer writes the cache anew when it had to read so many node files, and
	// one in ten.
	defaultCacheMisses = 1000
)

func stampAt(dir int, name string) (nodefile.Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nodefile.Stamp{}, fmt.Errorf("stat %s: %w", name, err)
	}
	return nodefile.Stamp{Size: uint64(st.Size), Inode: st.Ino, MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano()}, nil
}

// readCache returns the entries by id; none if there is no usable cache.
func (s scanner) readCache() map[string]nodefile.CacheEntry {
	b, err := sealed.ReadFile(s.path(cacheName), nodefile.MaxCacheBytes)
	if err != nil {
		return nil
	}
	entries, err := nodefile.DecodeCache(b)
	if err != nil {
		return nil // it is made again from the nodes
	}
	return entries
}

// closeCache keeps what the next opener would have to read, if that is much. It
// needs s.mu.
func (s scanner) closeCache() {
	known := s.List()
	misses := int(s.uncached.Load())
	if misses < s.cacheMisses || misses*10 < len(known) {
		return
	}
	d, err := os.Open(s.path(nodesDir))
	if err != nil {
		return
	}
	defer d.Close()
	byID := make(map[string]*Node, len(known))
	for _, n := range known {
		byID[n.ID] = n
	}
	entries := make([]nodefile.CacheEntry, 0, len(known))
	for _, n := range known {
		m := nodefile.Metadata{Info: n.Info}
		if parent := byID[n.Parent]; parent != nil && m.CPUFeatures.Equal(&parent.CPUFeatures) {
			m.InheritCPU, m.CPUFeatures = true, nodefile.CPUFeatures{}
		}
		e := nodefile.CacheEntry{ID: n.ID, Meta: nodefile.EncodeEntry(&m)}
		// A file of another size is not what this process has written or read.
		if e.Stamp, err = stampAt(int(d.Fd()), n.ID+nodeSuffix); err == nil && e.Stamp.Size == n.StoredBytes() && e.Meta != nil {
			entries = append(entries, e)
		}
	}
	s.writeCache(entries, misses, len(known))
}

// writeCache keeps what a scan has read, if that was much. A failure costs the next
// opener time and nothing else. Of so many nodes entries has those that it can hold.
func (s scanner) writeCache(entries []nodefile.CacheEntry, misses, nodes int) {
	s.uncached.Store(int64(misses))
	if s.readOnly || misses < s.cacheMisses || misses*10 < nodes {
		return
	}
	s.uncached.Store(0)
	if b := nodefile.EncodeCache(entries); len(b) <= nodefile.MaxCacheBytes {
		if err := s.fs.WriteFile(s.path(cacheName), b); err != nil {
			_ = os.Remove(s.path(cacheName))
		}
	}
}
