package source

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"seuss/lineage/sealed"
)

const (
	indexMagic  = "SUSSIDX1"
	indexSuffix = ".index"
	stampBytes  = 5 * 8
	recordBytes = stampBytes + sha256.Size
	// maxIndexBytes bounds what is read: twice the files that a layer may have.
	maxIndexBytes = 2<<20*recordBytes + 1<<10
	// racyTime is how old a change of a file must be when its content is read, for the
	// content to be noted: what changes once more within a tick of the file system's clock,
	// a second on some, has the same times as before.
	racyTime = 2 * time.Second
	// unusedTime is when an index that nobody has used is removed.
	unusedTime = 30 * 24 * time.Hour
)

var indexFiles = sealed.NewUnlocked(".index-", 24*time.Hour)

// stamp is what the file system says of a file: no change of its content leaves it as it
// is, because nobody can set the time of the inode's change. Only stores to a shared mapping
// may come later than what is noted for them.
type stamp struct {
	Dev, Ino, Size uint64
	Mtime, Ctime   int64 // nanoseconds since 1970
}

func stampOf(info fs.FileInfo) (s stamp, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return s, false
	}
	return stamp{uint64(st.Dev), st.Ino, uint64(st.Size), st.Mtim.Nano(), st.Ctim.Nano()}, true
}

// Index remembers the SHA-256 of files' contents by their stamps, so that a tree that has
// not changed need not be read again. It is a file beside the layers, of which a lost or
// damaged one costs no more than reading. A nil Index remembers nothing. It is not safe for
// concurrent use.
type Index struct {
	path   string
	known  map[stamp][sha256.Size]byte // as it was found
	next   map[stamp][sha256.Size]byte // of the files that were asked for
	local  map[uint64]bool             // by device: its times are this machine's
	clock  func() time.Time
	hashed int // files that had to be read
}

// Index returns what is remembered of the trees of a reference, nil if there is nowhere to
// keep it.
func (o *Options) Index(reference string) *Index {
	if o.Layers.Dir == "" {
		return nil
	}
	name := sha256.Sum256([]byte(reference))
	x := &Index{
		path:  filepath.Join(o.Layers.Dir, hex.EncodeToString(name[:])+indexSuffix),
		next:  map[stamp][sha256.Size]byte{},
		local: map[uint64]bool{},
		clock: time.Now,
	}
	if b, err := sealed.ReadFile(x.path, maxIndexBytes); err == nil {
		x.known = decodeIndex(b)
	}
	return x
}

// decodeIndex returns nil for what is no index.
func decodeIndex(b []byte) map[stamp][sha256.Size]byte {
	end := len(b) - sha256.Size
	if end < len(indexMagic) || string(b[:len(indexMagic)]) != indexMagic || (end-len(indexMagic))%recordBytes != 0 || sha256.Sum256(b[:end]) != [sha256.Size]byte(b[end:]) {
		return nil
	}
	known := make(map[stamp][sha256.Size]byte, end/recordBytes)
	for r := b[len(indexMagic):end]; len(r) > 0; r = r[recordBytes:] {
		u64 := func(i int) uint64 { return binary.LittleEndian.Uint64(r[8*i:]) }
		known[stamp{u64(0), u64(1), u64(2), int64(u64(3)), int64(u64(4))}] = [sha256.Size]byte(r[stampBytes:])
	}
	return known
}

func encodeIndex(known map[stamp][sha256.Size]byte) []byte {
	b := make([]byte, 0, len(indexMagic)+len(known)*recordBytes+sha256.Size)
	b = append(b, indexMagic...)
	for s, digest := range known {
		for _, v := range []uint64{s.Dev, s.Ino, s.Size, uint64(s.Mtime), uint64(s.Ctime)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		b = append(b, digest[:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// content returns the digest of a file that was read before and has not changed since.
func (x *Index) content(info fs.FileInfo) (digest [sha256.Size]byte, ok bool) {
	if x == nil {
		return digest, false
	}
	s, ok := stampOf(info)
	if !ok {
		return digest, false
	}
	if digest, ok = x.known[s]; ok {
		x.next[s] = digest
	}
	return digest, ok
}

// note remembers the digest of a file that was read whole, from a time on at which it was as
// before says, if nothing can change the file from now on and leave it the same stamp.
func (x *Index) note(f *os.File, before fs.FileInfo, began time.Time, digest [sha256.Size]byte) {
	if x == nil {
		return
	}
	x.hashed++
	s, ok := stampOf(before)
	after, err := f.Stat()
	if !ok || err != nil {
		return
	}
	latest := began.Add(-racyTime).UnixNano()
	if now, _ := stampOf(after); now == s && s.Mtime < latest && s.Ctime < latest && x.isLocal(s.Dev, f) {
		x.next[s] = digest
	}
}

func (x *Index) now() time.Time {
	if x == nil {
		return time.Time{}
	}
	return x.clock()
}

// isLocal says whether this machine's clock gives the times of the files of a device, on
// which f is, and stores to shared mappings count as changes. A server's clock may be behind,
// and tmpfs tells of no such store.
func (x *Index) isLocal(dev uint64, f *os.File) bool {
	local, ok := x.local[dev]
	if !ok {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err == nil {
			switch st.Type {
			case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, zfsMagic:
				local = true
			}
		}
		x.local[dev] = local
	}
	return local
}

const zfsMagic = 0x2fc12fc1 // of OpenZFS, include/sys/fs/zfs.h

// Close keeps what was learnt. That it cannot be kept costs reading, and is no error.
func (x *Index) Close() {
	if x == nil {
		return
	}
	dir := filepath.Dir(x.path)
	if len(x.known) == len(x.next) && x.hashed == 0 {
		now := time.Now()
		_ = os.Chtimes(x.path, now, now) // it is in use
		return
	}
	b := encodeIndex(x.next)
	if len(b) > maxIndexBytes || os.MkdirAll(dir, sealed.DirMode) != nil {
		return
	}
	_ = indexFiles.Sweep(dir)
	sweepIndices(dir)
	_ = indexFiles.WriteFile(x.path, b)
}

// sweepIndices removes indices of trees that nobody has looked at for long.
func sweepIndices(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), indexSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > unusedTime {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
