package nodefile

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// The metadata of many nodes is kept once more in one file, so that opening a
// large store takes one look at each node file's inode and not its content. The
// file is a cache: an entry counts only while the node file has the size, inode,
// and times of modification and change that it had; what is missing, changed or
// damaged is read from the node files. Integers are little endian:
//
//	header   magic u64, version u32, CRC-32C of all that follows u32, count u64
//	entries  id 32 bytes, size u64, inode u64, mtime i64 ns, ctime i64 ns,
//	         length u32, metadata as in entry.go
const (
	cacheMagic       = 0x3154414353535553 // "SUSSCAT1"
	cacheVersion     = 2                  // 1 held the metadata section
	CacheHeaderBytes = 24
	cacheEntryBytes  = 32 + 4*8 + 4

	// MaxCacheBytes bounds the file.
	MaxCacheBytes = 4 << 30
)

// Stamp tells one state of a file from another.
type Stamp struct {
	Size, Inode  uint64
	MTime, CTime int64 // ns
}

// CacheEntry is what the cache has of one node.
type CacheEntry struct {
	ID    string
	Stamp Stamp
	Meta  []byte // see EncodeEntry
}

// DecodeCache reads what encodeCache writes, and gives the entries by id.
func DecodeCache(b []byte) (map[string]CacheEntry, error) {
	le := binary.LittleEndian
	if len(b) < CacheHeaderBytes || le.Uint64(b) != cacheMagic {
		return nil, fmt.Errorf("catalogue of %d bytes: %w", len(b), ErrMagic)
	}
	if v := le.Uint32(b[8:]); v != cacheVersion {
		return nil, fmt.Errorf("catalogue has version %d, this program reads %d: %w", v, cacheVersion, ErrVersion)
	}
	if got := Checksum(b[16:]); got != le.Uint32(b[12:]) {
		return nil, fmt.Errorf("catalogue: checksum is %#08x: %w", got, ErrChecksum)
	}
	count := le.Uint64(b[16:])
	b = b[CacheHeaderBytes:]
	if count > uint64(len(b))/cacheEntryBytes {
		return nil, fmt.Errorf("catalogue of %d nodes in %d bytes: %w", count, len(b), ErrFormat)
	}
	entries := make(map[string]CacheEntry, count)
	for range count {
		if len(b) < cacheEntryBytes {
			return nil, fmt.Errorf("catalogue ends within an entry: %w", ErrFormat)
		}
		e := CacheEntry{ID: hex.EncodeToString(b[:32]), Stamp: Stamp{le.Uint64(b[32:]), le.Uint64(b[40:]), int64(le.Uint64(b[48:])), int64(le.Uint64(b[56:]))}}
		n := uint64(le.Uint32(b[64:]))
		b = b[cacheEntryBytes:]
		if n > uint64(len(b)) || n > maxMetadataBytes {
			return nil, fmt.Errorf("catalogue ends within metadata of %d bytes: %w", n, ErrFormat)
		}
		e.Meta, b = b[:n:n], b[n:]
		entries[e.ID] = e
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%d bytes after the catalogue: %w", len(b), ErrFormat)
	}
	return entries, nil
}

// EncodeCache writes the entries. Their ids are digests.
func EncodeCache(entries []CacheEntry) []byte {
	le := binary.LittleEndian
	size := CacheHeaderBytes
	for i := range entries {
		size += cacheEntryBytes + len(entries[i].Meta)
	}
	b := make([]byte, 16, size)
	le.PutUint64(b, cacheMagic)
	le.PutUint32(b[8:], cacheVersion)
	b = le.AppendUint64(b, uint64(len(entries)))
	for i := range entries {
		e := &entries[i]
		b, _ = hex.AppendDecode(b, []byte(e.ID))
		for _, v := range []uint64{e.Stamp.Size, e.Stamp.Inode, uint64(e.Stamp.MTime), uint64(e.Stamp.CTime)} {
			b = le.AppendUint64(b, v)
		}
		b = le.AppendUint32(b, uint32(len(e.Meta)))
		b = append(b, e.Meta...)
	}
	le.PutUint32(b[12:], Checksum(b[16:]))
	return b
}
