package lineage

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"seuss/lineage/sealed"

	"golang.org/x/sys/unix"
)

// The metadata of many nodes is kept once more in one file, so that opening a
// large store takes one look at each node file's inode and not its content. The
// file is a cache: an entry counts only while the node file has the size, inode,
// and times of modification and change that it had; what is missing, changed or
// damaged is read from the node files. Integers are little endian:
//
//	header   magic u64, version u32, CRC-32C of all that follows u32, count u64
//	entries  id 32 bytes, size u64, inode u64, mtime i64 ns, ctime i64 ns,
//	         length u32, metadata as in cache_entry.go
const (
	cacheName        = "catalogue"
	cacheMagic       = 0x3154414353535553 // "SUSSCAT1"
	cacheVersion     = 2                  // 1 held the metadata section
	cacheHeaderBytes = 24
	cacheEntryBytes  = 32 + 4*8 + 4
	maxCacheBytes    = 4 << 30

	// A writer writes the cache anew when it had to read so many node files, and
	// one in ten.
	defaultCacheMisses = 1000
)

// fileStamp tells one state of a file from another.
type fileStamp struct {
	size, inode  uint64
	mtime, ctime int64 // ns
}

type cacheEntry struct {
	stamp fileStamp
	meta  []byte
}

func stampAt(dir int, name string) (fileStamp, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fileStamp{}, fmt.Errorf("stat %s: %w", name, err)
	}
	return fileStamp{uint64(st.Size), st.Ino, st.Mtim.Nano(), st.Ctim.Nano()}, nil
}

// readCache returns the entries by id; none if there is no usable cache.
func (s *Store) readCache() map[string]cacheEntry {
	b, err := sealed.ReadFile(s.path(cacheName), maxCacheBytes)
	if err != nil {
		return nil
	}
	entries, err := decodeCache(b)
	if err != nil {
		return nil // it is made again from the nodes
	}
	return entries
}

func decodeCache(b []byte) (map[string]cacheEntry, error) {
	le := binary.LittleEndian
	if len(b) < cacheHeaderBytes || le.Uint64(b) != cacheMagic {
		return nil, fmt.Errorf("catalogue of %d bytes: %w", len(b), ErrMagic)
	}
	if v := le.Uint32(b[8:]); v != cacheVersion {
		return nil, fmt.Errorf("catalogue has version %d, this program reads %d: %w", v, cacheVersion, ErrVersion)
	}
	if got := checksum(b[16:]); got != le.Uint32(b[12:]) {
		return nil, fmt.Errorf("catalogue: checksum is %#08x: %w", got, ErrChecksum)
	}
	count := le.Uint64(b[16:])
	b = b[cacheHeaderBytes:]
	if count > uint64(len(b))/cacheEntryBytes {
		return nil, fmt.Errorf("catalogue of %d nodes in %d bytes: %w", count, len(b), ErrFormat)
	}
	entries := make(map[string]cacheEntry, count)
	for range count {
		if len(b) < cacheEntryBytes {
			return nil, fmt.Errorf("catalogue ends within an entry: %w", ErrFormat)
		}
		e := cacheEntry{stamp: fileStamp{le.Uint64(b[32:]), le.Uint64(b[40:]), int64(le.Uint64(b[48:])), int64(le.Uint64(b[56:]))}}
		id, n := hex.EncodeToString(b[:32]), uint64(le.Uint32(b[64:]))
		b = b[cacheEntryBytes:]
		if n > uint64(len(b)) || n > maxMetadataBytes {
			return nil, fmt.Errorf("catalogue ends within metadata of %d bytes: %w", n, ErrFormat)
		}
		e.meta, b = b[:n:n], b[n:]
		entries[id] = e
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%d bytes after the catalogue: %w", len(b), ErrFormat)
	}
	return entries, nil
}

func encodeCache(nodes []found) []byte {
	le := binary.LittleEndian
	size, count := cacheHeaderBytes, uint64(0)
	for i := range nodes {
		if nodes[i].raw != nil {
			size += cacheEntryBytes + len(nodes[i].raw)
			count++
		}
	}
	b := make([]byte, 16, size)
	le.PutUint64(b, cacheMagic)
	le.PutUint32(b[8:], cacheVersion)
	b = le.AppendUint64(b, count)
	for i := range nodes {
		n := &nodes[i]
		if n.raw == nil {
			continue
		}
		b, _ = hex.AppendDecode(b, []byte(n.id)) // it is a digest
		for _, v := range []uint64{n.stamp.size, n.stamp.inode, uint64(n.stamp.mtime), uint64(n.stamp.ctime)} {
			b = le.AppendUint64(b, v)
		}
		b = le.AppendUint32(b, uint32(len(n.raw)))
		b = append(b, n.raw...)
	}
	le.PutUint32(b[12:], checksum(b[16:]))
	return b
}

// closeCache keeps what the next opener would have to read, if that is much. It
// needs s.mu.
func (s *Store) closeCache() {
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
	nodes := make([]found, 0, len(known))
	for _, n := range known {
		m := metadata{Info: n.Info}
		if parent := byID[n.Parent]; parent != nil && m.CPUFeatures.equal(&parent.CPUFeatures) {
			m.InheritCPU, m.CPUFeatures = true, CPUFeatures{}
		}
		f := found{id: n.ID, raw: encodeEntry(&m)}
		// A file of another size is not what this process has written or read.
		if f.stamp, err = stampAt(int(d.Fd()), n.ID+nodeSuffix); err == nil && f.stamp.size == n.StoredBytes() {
			nodes = append(nodes, f)
		}
	}
	s.writeCache(nodes, misses)
}

// writeCache keeps what a scan has read, if that was much. A failure costs the next
// opener time and nothing else.
func (s *Store) writeCache(nodes []found, misses int) {
	s.uncached.Store(int64(misses))
	if s.readOnly || misses < s.cacheMisses || misses*10 < len(nodes) {
		return
	}
	s.uncached.Store(0)
	if b := encodeCache(nodes); len(b) <= maxCacheBytes {
		if err := s.fs.WriteFile(s.path(cacheName), b); err != nil {
			_ = os.Remove(s.path(cacheName))
		}
	}
}
