package pages

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"weak"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
)

// Shared finds the Blob of a node file by its inode. Two nodes that have pages in
// one file, under whatever names, so have them in one Blob: one mapping, one copy of
// what is filled on demand, each page checked once, and nothing to copy when a machine
// goes from one of the nodes to the other. An inode is not used again while a Blob
// has its file open.
type Shared struct {
	mu sync.Mutex // a leaf
	at map[FileID]weak.Pointer[Blob]
}

type FileID struct{ device, inode uint64 }

func (b *Shared) Get(file FileID) *Blob {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at[file].Value()
}

// Add returns what another one has added meanwhile, or blob.
func (b *Shared) Add(file FileID, blob *Blob) *Blob {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.at[file].Value(); known != nil {
		return known
	}
	if b.at == nil {
		b.at = map[FileID]weak.Pointer[Blob]{}
	}
	b.at[file] = weak.Make(blob)
	runtime.AddCleanup(blob, b.drop, file)
	return blob
}

// Clear forgets all Blobs: for benchmarks.
func (b *Shared) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.at)
}

func (b *Shared) drop(file FileID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at[file].Value() == nil {
		delete(b.at, file)
	}
}

func FileIDOf(f *os.File) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return FileID{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return FileID{st.Dev, st.Ino}, nil
}

// Open makes a Blob of the pages of x at offset of a file, and owns the file from
// then on, also when it fails. huge, with VerifyDemand, asks for huge pages.
func Open(verify Verify, huge bool, name string, f *os.File, offset int64, x *nodefile.Index) (*Blob, error) {
	if verify == VerifyDemand && huge {
		if b, err := newHugeBlob(name, f, offset, x); b != nil || err != nil {
			return b, err
		}
	}
	if verify == VerifyDemand && x.DataPages > 0 && x.DataPages <= nodefile.MaxDataPages {
		return newPagedBlob(name, f, offset, x)
	}
	return newBlob(name, f, offset, x)
}

// Verify says when the pages of a node are compared with their checksums. No
// page is ever shown to a machine before that.
type Verify int

const (
	// VerifyEager checks all pages of a node when it is loaded. After that its
	// View's methods cannot fail.
	VerifyEager Verify = iota
	// VerifyLazy checks a page when View.Check or Blob.Check is called for it for
	// the first time. Users must call them before they show pages to a machine.
	VerifyLazy
	// VerifyDemand leaves the pages in the files until they are needed, and checks
	// them then: see Blob.Fill. What View.Check and Blob.Check were not called for
	// must not be shown to a machine, but as a file of which missing pages are filled
	// first.
	VerifyDemand
)
