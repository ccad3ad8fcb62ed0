package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
)

// Names inside a state directory.
const (
	lockName     = "lock"
	imagesDir    = "images"
	nodesDir     = "nodes"
	functionsDir = "functions"
	codeDir      = "code"

	imageSuffix    = ".img"
	nodeSuffix     = ".node"
	hitsSuffix     = ".hits"
	functionSuffix = ".json"
)

// Options change how a Store is opened.
type Options struct {
	// ReadOnly opens an existing directory for listing and restoring, without
	// taking the lock: a process that captures may have it open. What that
	// process adds later is not seen, what it removes can no longer be loaded.
	ReadOnly bool
}

// Store is one open state directory. Its methods may be called concurrently.
type Store struct {
	dir      string
	readOnly bool
	lock     *os.File // nil if read-only
	db       *memdb.MemDB
	damaged  []Damage
	fs       sealFS
	closed   atomic.Bool

	mu sync.Mutex // serialises changes of the directory and the catalogue
}

// Damage is a file that Open left out of the catalogue, and why. Nothing is
// deleted: the file stays where it is.
type Damage struct {
	Path string
	Err  error
}

// Open opens the state directory dir, creating it unless opts.ReadOnly. Of each
// node it reads and checks only header and metadata; nodes that fail this, and
// their descendants, are left out and listed by Damaged.
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
	s := &Store{dir: dir, readOnly: opts.ReadOnly, fs: osSealFS()}
	if s.readOnly {
		if fi, err := os.Stat(dir); err != nil {
			return nil, err
		} else if !fi.IsDir() {
			return nil, fmt.Errorf("not a directory: %w", ErrInvalid)
		}
	} else {
		for _, d := range []string{"", imagesDir, nodesDir, functionsDir, codeDir} {
			if err := os.MkdirAll(s.path(d), 0o755); err != nil {
				return nil, writableError(err)
			}
		}
		if s.lock, err = takeLock(s.path(lockName)); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				s.lock.Close()
			}
		}()
		for _, d := range []string{imagesDir, nodesDir, functionsDir, codeDir} {
			if err := sweep(s.path(d)); err != nil {
				return nil, writableError(err)
			}
		}
		if err := s.sweepCode(); err != nil {
			return nil, writableError(err)
		}
	}
	if s.db, err = memdb.NewMemDB(catalogueSchema()); err != nil {
		return nil, fmt.Errorf("create catalogue: %w", err)
	}
	if err := s.scan(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *Store) nodePath(id string) string { return s.path(nodesDir, id+nodeSuffix) }
func (s *Store) hitsPath(id string) string { return s.path(nodesDir, id+hitsSuffix) }

// Dir returns the state directory.
func (s *Store) Dir() string { return s.dir }

// ImagePath returns where the image with this digest belongs.
func (s *Store) ImagePath(digest string) string { return s.path(imagesDir, digest+imageSuffix) }

// ReadOnly reports how the Store was opened.
func (s *Store) ReadOnly() bool { return s.readOnly }

// Damaged lists the files that Open found damaged or orphaned.
func (s *Store) Damaged() []Damage { return slices.Clone(s.damaged) }

// Close writes the hit counts, unloads every node and gives up the lock. Views in
// use stay valid; every later method that needs the directory returns ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	for _, n := range s.List() {
		n.loaded.Store(nil)
	}
	if s.readOnly {
		return nil
	}
	_ = s.flushHits() // a hint: where the disk is full it is lost, and nothing else
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

// scan fills the catalogue from the nodes directory.
func (s *Store) scan() error {
	entries, err := os.ReadDir(s.path(nodesDir))
	if errors.Is(err, fs.ErrNotExist) && s.readOnly {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	var ids []string
	found := map[string]*Node{}
	children := map[string][]*Node{}
	hits := map[string]bool{}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), hitsSuffix); ok {
			hits[id] = true
		}
		id, ok := strings.CutSuffix(e.Name(), nodeSuffix)
		if !ok || !validDigest(id) {
			continue // not ours
		}
		n, err := s.readNode(id)
		if err != nil {
			s.damaged = append(s.damaged, Damage{s.nodePath(id), err})
			continue
		}
		ids = append(ids, id)
		found[id] = n
		children[n.Parent] = append(children[n.Parent], n)
	}
	// Only what hangs on a root is reachable: this leaves out the descendants of
	// a damaged node, and forged circles.
	txn := s.db.Txn(true)
	defer txn.Abort()
	for todo := children[""]; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], children[n.ID]...)
		if hits[n.ID] {
			s.readHits(n)
		}
		if err := txn.Insert(nodeTable, n); err != nil {
			return fmt.Errorf("catalogue node %s: %w", n.ID, err)
		}
		delete(found, n.ID)
	}
	txn.Commit()
	for _, id := range ids {
		if n, ok := found[id]; ok {
			s.damaged = append(s.damaged, Damage{s.nodePath(id), fmt.Errorf("node %s: parent %s: %w", id, n.Parent, ErrOrphan)})
		}
	}
	return nil
}

// readNode reads header and metadata of a node file.
func (s *Store) readNode(id string) (*Node, error) {
	f, h, err := openNodeFile(s.nodePath(id))
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", id, err)
	}
	defer f.Close()
	info, err := readInfo(f, h, id)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", id, err)
	}
	return &Node{Info: *info}, nil
}

// readHits takes over the stored use count; a lost count is no damage.
func (s *Store) readHits(n *Node) {
	b, err := os.ReadFile(s.hitsPath(n.ID))
	if err != nil {
		return
	}
	if hits, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil {
		n.hits.Store(hits)
		n.savedHits.Store(hits)
	}
}

// FlushHits writes the use counts that changed. Counts are a hint for policies:
// they are not synced, and those since the last flush are lost in a crash.
func (s *Store) FlushHits() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return fmt.Errorf("flush hits: %w", err)
	}
	return s.flushHits()
}

func (s *Store) flushHits() error {
	for _, n := range s.List() {
		hits := n.Hits()
		if hits == n.savedHits.Load() {
			continue
		}
		if err := s.writeHits(n.ID, hits); err != nil {
			return fmt.Errorf("store hits of node %s: %w", n.ID, err)
		}
		n.savedHits.Store(hits)
	}
	return nil
}

func (s *Store) writeHits(id string, hits uint64) error {
	p, err := s.newPending(s.path(nodesDir))
	if err != nil {
		return err
	}
	defer p.discard()
	if _, err := p.Write([]byte(strconv.FormatUint(hits, 10) + "\n")); err != nil {
		return err
	}
	p.open = false
	if err := p.Close(); err != nil {
		return err
	}
	if err := p.fs.rename(p.Name(), s.hitsPath(id)); err != nil {
		return err
	}
	p.gone = true
	return nil
}
