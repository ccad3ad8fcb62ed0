package functions

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"seuss/lineage"
	"seuss/lineage/changes"
	"seuss/lineage/sealed"
)

// Names inside a state directory.
const (
	recordsDir   = "functions"
	codeDir      = "code"
	recordSuffix = ".json"
)

// Store is what is deployed in one state directory. Its methods may be called
// concurrently.
type Store struct {
	dir      string
	readOnly bool
	fs       sealed.FS
	closed   atomic.Bool
	changes  changes.Feed
	urls     sync.Map // urlTarget by id; of a Store that writes

	mu      sync.Mutex       // serialises changes of the folders
	member  string           // that changes are stamped as; "": in no cluster
	changed func(key string) // nil: nobody is told
}

// Options change how a Store is opened.
type Options struct {
	// ReadOnly opens the Store for reading, whoever writes it: each call sees what is
	// deployed then.
	ReadOnly bool
}

// Open opens the deployments of the state directory dir. To write, its caller has the
// directory's lock and keeps it until after Close; folders that are missing are made,
// and what interrupted changes left behind is swept.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, readOnly: o.ReadOnly, fs: sealed.OS()}
	if o.ReadOnly {
		return s, nil
	}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("open functions in %s: %w", dir, sealed.WritableError(err))
	}
	return s, nil
}

// Close ends the use of the Store: every later call returns lineage.ErrClosed.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
}

// Changes says what was deployed or removed by this Store since it was opened. Its
// keys are functions: a change of a version is one of its function.
func (s *Store) Changes() *changes.Feed { return &s.changes }

// folder is where an owner's records or code lie.
func (s *Store) folder(of, owner string) string {
	if owner == DefaultOwner {
		owner = ""
	}
	return filepath.Join(s.dir, of, owner)
}

func (s *Store) recordPath(name string) string {
	return filepath.Join(s.folder(recordsDir, OwnerOf(name)), NameOf(name)+recordSuffix)
}

// codePath is where code of a deployment's owner lies: no owner has another one's.
func (s *Store) codePath(name, digest string) string {
	return filepath.Join(s.folder(codeDir, OwnerOf(name)), digest)
}

func (s *Store) usable() error {
	if s.closed.Load() {
		return lineage.ErrClosed
	}
	return nil
}

func (s *Store) writable() error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.readOnly {
		return fmt.Errorf("state directory %s: %w", s.dir, lineage.ErrReadOnly)
	}
	return nil
}

// Put deploys code under f.Name, in place of an earlier deployment of that name, and
// returns the deployment with digest and time filled in.
func (s *Store) Put(f Function, code []byte) (Function, error) {
	f.CodeDigest = CodeDigest(code)
	if f.Deployed.IsZero() {
		f.Deployed = time.Now()
	}
	f.Deployed = f.Deployed.UTC().Round(0)
	if err := s.put(&f, code); err != nil {
		return Function{}, fmt.Errorf("deploy function %q: %w", f.Name, err)
	}
	return f, nil
}

func (s *Store) put(f *Function, code []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.read(f.Name)
	if err != nil && !errors.Is(err, lineage.ErrNotFound) && !errors.Is(err, lineage.ErrFormat) {
		return err
	}
	if f.Stamp, err = (Shared{s}).nextStamp(f.Name, &old); err != nil {
		return err
	}
	return s.putStamped(f, code)
}

// putStamped stores a record as it is. mu is held.
func (s *Store) putStamped(f *Function, code []byte) error {
	record, err := f.encode()
	if err != nil {
		return err
	}
	if len(code) > MaxCodeBytes {
		return fmt.Errorf("code has %d bytes, at most %d: %w", len(code), MaxCodeBytes, lineage.ErrInvalid)
	}
	if err := s.writable(); err != nil {
		return err
	}
	old, err := s.read(f.Name)
	if err != nil && !errors.Is(err, lineage.ErrNotFound) && !errors.Is(err, lineage.ErrFormat) {
		return err
	}
	if err := s.makeFolders(OwnerOf(f.Name)); err != nil {
		return err
	}
	// Code first: a deployment never names code that is not there. Damaged code
	// from earlier is replaced.
	if _, err := s.readCode(f.Name, f.CodeDigest); err != nil {
		if err := s.fs.WriteFile(s.codePath(f.Name, f.CodeDigest), code); err != nil {
			return err
		}
	}
	// After an error, too, the record may be the new one.
	defer s.tell(f.Name)
	if err := s.fs.WriteFile(s.recordPath(f.Name), record); err != nil {
		return err
	}
	if f.Stamp.Count > 0 {
		Shared{s}.forget(f.Name)
	}
	s.indexURLs(&old, f)
	// The function is deployed: old code that stays behind is swept by Open.
	if old.CodeDigest != f.CodeDigest { // else it is used: no other deployment has to be read
		_ = s.dropCode(f.Name, old.CodeDigest)
	}
	return nil
}

// Get returns the deployment of that name. The error matches lineage.ErrNotFound
// if there is none.
func (s *Store) Get(name string) (Function, error) {
	if err := s.usable(); err != nil {
		return Function{}, fmt.Errorf("function %q: %w", name, err)
	}
	return s.read(name)
}

func (s *Store) read(name string) (Function, error) {
	if !ValidDeploymentName(name) {
		return Function{}, fmt.Errorf("function %q: not a function name: %w: %w", name, lineage.ErrInvalid, lineage.ErrNotFound)
	}
	b, err := sealed.ReadFile(s.recordPath(name), maxRecordBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Function{}, fmt.Errorf("function %q: %w", name, lineage.ErrNotFound)
	case errors.Is(err, sealed.ErrTooLarge):
		err = fmt.Errorf("%w: %w", err, lineage.ErrFormat)
	case err == nil:
		var f Function
		if f, err = decode(b, name); err == nil {
			return f, nil
		}
	}
	return Function{}, fmt.Errorf("function %q: %w", name, err)
}

// Remove deletes a deployment, and its code if no other one uses it. The error matches
// lineage.ErrNotFound if there is none of that name.
func (s *Store) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	f, err := s.read(name)
	if err != nil && !errors.Is(err, lineage.ErrFormat) { // a damaged one can be removed too
		return fmt.Errorf("remove: %w", err)
	}
	r := removal{Key: name, At: time.Now().UTC()}
	if r.Stamp, err = (Shared{s}).nextStamp(name, &f); err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	return s.removeAs(name, r)
}

// removeAs removes a deployment, if it is there, and remembers it if that has a stamp. mu is
// held.
func (s *Store) removeAs(name string, r removal) error {
	if err := s.writable(); err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	f, err := s.read(name)
	defer s.tell(name)
	if r.Stamp.Count > 0 {
		if err := (Shared{s}).remember(r); err != nil {
			return fmt.Errorf("remove function %q: %w", name, err)
		}
	}
	if errors.Is(err, lineage.ErrNotFound) {
		return nil
	}
	if err := s.fs.Delete(s.recordPath(name)); err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	s.indexURLs(&f, &Function{})
	if err := s.dropCode(name, f.CodeDigest); err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	return nil
}

// CodeDigest returns the digest under which code is stored.
func CodeDigest(code []byte) string {
	sum := sha256.Sum256(code)
	return hex.EncodeToString(sum[:])
}

// Code returns the code of a deployment, checked against its digest.
func (s *Store) Code(f Function) ([]byte, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("code of function %q: %w", f.Name, err)
	}
	if !validDigest(f.CodeDigest) {
		return nil, fmt.Errorf("code of function %q: digest %q: %w", f.Name, f.CodeDigest, lineage.ErrInvalid)
	}
	code, err := s.readCode(f.Name, f.CodeDigest)
	if err != nil {
		return nil, fmt.Errorf("code of function %q: %w", f.Name, err)
	}
	return code, nil
}

func (s *Store) readCode(name, digest string) ([]byte, error) {
	path := s.codePath(name, digest)
	code, err := sealed.ReadFile(path, MaxCodeBytes)
	if errors.Is(err, sealed.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %w", err, lineage.ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	if got := CodeDigest(code); got != digest {
		return nil, fmt.Errorf("%s: digest is %s: %w", path, got, lineage.ErrChecksum)
	}
	return code, nil
}
