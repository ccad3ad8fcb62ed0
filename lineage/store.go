package lineage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"

	"seuss/guest"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed"
)

// Names inside a state directory.
const (
	imagesDir = "images"
	nodesDir  = "nodes"
	hitsName  = "hits"

	nodeSuffix = ".node"
)

// Options change how a Store is opened.
type Options struct {
	// ReadOnly opens an existing directory for listing and restoring, without
	// taking the lock: a process that captures may have it open. What that
	// process adds later is not seen, what it removes can no longer be loaded.
	ReadOnly bool
	// Verify says when pages are compared with their checksums.
	Verify pages.Verify
	// Form says how captures are stored.
	Form nodefile.Form
	// HotBytes bounds the memory of expanded nodes that the Store keeps loaded;
	// 0 means DefaultHotBytes. What is in use is kept by its users beyond that.
	HotBytes uint64
	// HotNodes bounds their number; 0 means DefaultHotNodes.
	HotNodes int
	// HugePages, with VerifyDemand, puts images into huge pages when they are loaded,
	// where the host gives some: see HugePagesOffered. That reads and checks all of an
	// image at once, and keeps a copy of it in memory, at most 1 GiB of such in a
	// process.
	HugePages bool
	// Unloaded, if not nil, is called with each node that was unloaded to keep that
	// bound, so that whoever holds its View can let go of it. It may be called from any
	// method that loads a node, and must call none.
	Unloaded func(*Node)

	cacheMisses int // for tests: see defaultCacheMisses
}

// DefaultHotBytes is Options.HotBytes where it is 0.
const DefaultHotBytes = 1 << 30

// DefaultHotNodes is Options.HotNodes where it is 0. Each takes two mappings of the process
// and a descriptor, of which it has 65,530 and perhaps 20,000.
const DefaultHotNodes = 4096

// Store is one open state directory. Its methods may be called concurrently.
type Store struct {
	dir      string
	readOnly bool
	lock     *os.File // nil if read-only
	nodes    *os.File // the directory of the node files; nil if there is none
	db       *memdb.MemDB
	damaged  []Damage
	repaired int // files and folders that others could use
	fs       sealed.FS
	verify   pages.Verify
	huge     bool // images are copied into huge pages

	formOption  nodefile.Form
	cacheMisses int
	hot         hotSet
	blobs       *pages.Shared // not in the Store: Blobs keep it, and may outlive that
	siblings    siblings
	removed     atomic.Uint64 // nodes, since Open
	noImports   atomic.Uint64 // import nodes of these
	changes     Changes

	closed   atomic.Bool
	uncached atomic.Int64 // node files written since Open, and those that the cache did not have

	mu       sync.Mutex // serialises changes of the directory and the catalogue
	goneUses bool       // the hits file counts nodes that have been removed
}

// Damage is a file that Open left out of the catalogue, and why. Nothing is
// deleted: the file stays where it is.
type Damage struct {
	Path string
	Err  error
}

// Open opens the state directory dir, creating it unless opts.ReadOnly, and closes it
// to other users: see Repaired. Of each
// node it reads and checks only header and metadata, or takes them from a cache if
// the file was not touched since; nodes that fail this, and their descendants, are
// left out and listed by Damaged.
//
// The error matches ErrLocked, and names the process, if another one holds the
// directory.
func Open(dir string, opts Options) (*Store, error) {
	s, err := open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open state directory %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, opts Options) (_ *Store, err error) {
	s := &Store{dir: dir, blobs: &pages.Shared{}, readOnly: opts.ReadOnly, fs: sealed.OS(), verify: opts.Verify, huge: opts.HugePages && pages.HugePagesOffered(), formOption: opts.Form}
	s.hot.unloaded = opts.Unloaded
	s.hot.limit, s.hot.most = cmp.Or(opts.HotBytes, DefaultHotBytes), cmp.Or(opts.HotNodes, DefaultHotNodes)
	s.cacheMisses = cmp.Or(opts.cacheMisses, defaultCacheMisses)
	if s.readOnly {
		if fi, err := os.Stat(dir); err != nil {
			return nil, err
		} else if !fi.IsDir() {
			return nil, fmt.Errorf("not a directory: %w", nodefile.ErrInvalid)
		}
		// Where it may not be changed, it is read as it is.
		s.repaired, _ = sealed.Private(dir)
	} else {
		for _, d := range []string{"", imagesDir, nodesDir} {
			if err := os.MkdirAll(s.path(d), sealed.DirMode); err != nil {
				return nil, sealed.WritableError(err)
			}
		}
		if s.lock, err = sealed.Lock(s.path(sealed.LockName)); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				s.lock.Close()
			}
		}()
		if s.repaired, err = sealed.Private(dir); err != nil {
			return nil, err
		}
		for _, d := range []string{"", imagesDir, nodesDir} {
			if err := sealed.Sweep(s.path(d)); err != nil {
				return nil, sealed.WritableError(err)
			}
		}
	}
	if s.nodes, err = os.Open(s.path(nodesDir)); err == nil {
		defer func() {
			if err != nil {
				s.nodes.Close()
			}
		}()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if s.db, err = memdb.NewMemDB(catalogueSchema()); err != nil {
		return nil, fmt.Errorf("create catalogue: %w", err)
	}
	if err := (scanner{s}).scan(); err != nil {
		return nil, err
	}
	if err := (scanner{s}).scanMarks(); err != nil {
		return nil, err
	}
	return s, nil
}

func fileSize(path string) (uint64, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return uint64(fi.Size()), nil
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *Store) nodePath(id string) string { return s.path(nodesDir, id+nodeSuffix) }

// Dir returns the state directory.
func (s *Store) Dir() string { return s.dir }

// ImagePath returns where the image with this digest belongs.
func (s *Store) ImagePath(digest string) string { return s.path(imagesDir, digest+guest.ImageSuffix) }

// ReadOnly reports how the Store was opened.
func (s *Store) ReadOnly() bool { return s.readOnly }

// Damaged lists the files that Open found damaged or orphaned.
func (s *Store) Damaged() []Damage { return slices.Clone(s.damaged) }

// Repaired says how many files and folders of the state directory other users could
// read, or do more with, until Open closed them.
func (s *Store) Repaired() int { return s.repaired }

// Close writes the hit counts, unloads every node and gives up the lock. Views in
// use stay valid; every later method that needs the directory returns ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	for _, n := range s.List() {
		s.hot.remove(n)
	}
	_ = s.nodes.Close() // it is nil, or only read
	if s.readOnly {
		return nil
	}
	scanner{s}.closeCache()
	_ = useCounts{s}.flushHits() // a hint: where the disk is full it is lost, and nothing else
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("unlock state directory %s: %w", s.dir, err)
	}
	return nil
}

func (s *Store) usable() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return nil
}

func (s *Store) writable() error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.readOnly {
		return fmt.Errorf("state directory %s: %w", s.dir, ErrReadOnly)
	}
	return nil
}
