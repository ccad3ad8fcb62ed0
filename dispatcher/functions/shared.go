package functions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"seuss/lineage"
	"seuss/lineage/sealed"
)

// A Store whose deployments are those of a cluster stamps each change, and remembers what was
// removed:
//
//	removed/<owner>/<name>.json   a removal; removed/<name>.json of the default owner's
//
// One that is in no cluster goes on with the stamps that it finds, so that it can come back.

const removedDir = "removed"

// removal is what is remembered of a deployment that was removed.
type removal struct {
	Key   string    `json:"key"`
	Stamp Stamp     `json:"stamp"`
	At    time.Time `json:"at"`
}

// Shared is what a cluster sees of a Store.
type Shared struct{ *Store }

// Share has changes stamped as a member's, from now on, and told. changed is called with the
// deployment's key after each change, its own and those that Take has made; it must not wait.
func (s *Store) Share(member string, changed func(key string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member, s.changed = member, changed
}

func (s Shared) removedPath(key string) string {
	return filepath.Join(s.folder(removedDir, OwnerOf(key)), NameOf(key)+recordSuffix)
}

// removedOf returns what is remembered of a removal; the zero one: nothing.
func (s Shared) removedOf(key string) (r removal, err error) {
	b, err := sealed.ReadFile(s.removedPath(key), maxRecordBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err == nil && r.Key != key {
		err = fmt.Errorf("it is of %.100q", r.Key)
	}
	if err == nil {
		err = r.Stamp.validate()
	}
	if err != nil {
		return removal{}, fmt.Errorf("removal of %q: %w: %w", key, err, lineage.ErrFormat)
	}
	return r, nil
}

// stampOf returns the stamp of the last change of a deployment. mu is held.
func (s Shared) stampOf(key string, old *Function) (Stamp, error) {
	if old.Stamp.Count > 0 {
		return old.Stamp, nil
	}
	r, err := s.removedOf(key)
	if errors.Is(err, lineage.ErrFormat) {
		err = nil // what is damaged is replaced
	}
	return r.Stamp, err
}

// nextStamp returns that of a change by this process. mu is held.
func (s Shared) nextStamp(key string, old *Function) (Stamp, error) {
	last, err := s.stampOf(key, old)
	switch {
	case err != nil, s.member == "" && last.Count == 0:
		return Stamp{}, err
	case s.member == "":
		return last.next(Offline), nil
	}
	return last.next(s.member), nil
}

// remember notes a removal before the record goes. mu is held.
func (s Shared) remember(r removal) error {
	dir := s.folder(removedDir, OwnerOf(r.Key))
	if err := os.MkdirAll(dir, sealed.DirMode); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.fs.WriteFile(s.removedPath(r.Key), append(b, '\n'))
}

// forget ends what is remembered of a removal: the deployment is there again. mu is held.
func (s Shared) forget(key string) {
	_ = s.fs.Remove(s.removedPath(key)) // an older one that stays behind says nothing
}

// tell says that a deployment has changed. mu is held.
func (s *Store) tell(key string) {
	s.changes.Changed(BaseName(key))
	if s.changed != nil {
		s.changed(key)
	}
}

// State returns the state of one deployment; nil: nothing is known of it.
func (s Shared) State(key string) (*Change, error) {
	f, err := s.Get(key)
	if err == nil {
		return stateOf(&f), nil
	}
	if !errors.Is(err, lineage.ErrNotFound) || errors.Is(err, lineage.ErrInvalid) {
		return nil, err
	}
	r, err := s.removedOf(key)
	if err != nil || r.Stamp.Count == 0 {
		return nil, err
	}
	return &Change{Key: key, Stamp: r.Stamp, Removed: r.At}, nil
}

func stateOf(f *Function) *Change {
	record := *f
	record.Stamp = Stamp{}
	return &Change{Key: f.Name, Stamp: f.Stamp, Record: &record}
}

// States calls f with the state of each deployment, and of each that was removed since
// RemovedFor; what is remembered of earlier removals goes. What cannot be read is left out and
// described by the error.
func (s Shared) States(f func(*Change)) error {
	list, err := s.List()
	for i := range list {
		f(stateOf(&list[i]))
	}
	owners, errOwners := s.owners(removedDir)
	if errors.Is(errOwners, fs.ErrNotExist) {
		return err
	}
	err = errors.Join(err, errOwners)
	for _, owner := range owners {
		entries, errDir := os.ReadDir(s.folder(removedDir, owner))
		if errDir != nil && !errors.Is(errDir, fs.ErrNotExist) {
			err = errors.Join(err, errDir)
		}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), recordSuffix)
			key := Key(owner, name)
			if !ok || e.IsDir() || !ValidDeploymentName(key) {
				continue
			}
			r, errRead := s.removedOf(key)
			_, gone := s.Get(key)
			switch {
			case errRead != nil:
				err = errors.Join(err, errRead)
			case !errors.Is(gone, lineage.ErrNotFound): // it has come back
			case time.Since(r.At) > RemovedFor:
				s.mu.Lock()
				s.forget(key)
				s.mu.Unlock()
			default:
				f(&Change{Key: key, Stamp: r.Stamp, Removed: r.At})
			}
		}
	}
	return err
}

// Forget ends what is remembered of a removal that is older than RemovedFor. It reports whether
// it did.
func (s Shared) Forget(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.removedOf(key)
	if err != nil || r.Stamp.Count == 0 || time.Since(r.At) <= RemovedFor || s.writable() != nil {
		return false
	}
	s.forget(key)
	s.tell(key)
	return true
}

// Stamp gives a deployment of this daemon's own a stamp, if it has none: it is the cluster's
// from then on, as a change after another one, which may be none.
func (s Shared) Stamp(key string, after Stamp) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.read(key)
	if err != nil || f.Stamp.Count > 0 {
		return err
	}
	f.Stamp = after.next(s.member)
	return s.write(&f)
}

// write stores a record whose code is there. mu is held.
func (s Shared) write(f *Function) error {
	if err := s.writable(); err != nil {
		return err
	}
	record, err := f.encode()
	if err != nil {
		return err
	}
	defer s.tell(f.Name)
	return s.fs.WriteFile(s.recordPath(f.Name), record)
}

// Take takes over a state that another member has told of, unless what is here is as late.
// code is that of a deployment, and may be nil where this Store has it. It reports whether it
// did.
func (s Shared) Take(c *Change, code []byte) (taken bool, err error) {
	if err := c.Check(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	here, err := s.State(c.Key)
	if err != nil && !errors.Is(err, lineage.ErrFormat) {
		return false, err
	}
	if here != nil && !c.Mark().After(here.Mark()) {
		return false, nil
	}
	if c.Record == nil {
		return true, s.removeAs(c.Key, removal{c.Key, c.Stamp, c.Removed})
	}
	f := *c.Record
	f.Stamp = c.Stamp
	if code == nil {
		if code, err = s.readCode(f.Name, f.CodeDigest); err != nil {
			return false, err
		}
	} else if got := CodeDigest(code); got != f.CodeDigest {
		return false, fmt.Errorf("code of function %q: digest is %s, not %s: %w", f.Name, got, f.CodeDigest, lineage.ErrChecksum)
	}
	return true, s.putStamped(&f, code)
}

// CodeOf returns an owner's code by its digest, checked against it.
func (s Shared) CodeOf(owner, digest string) ([]byte, error) {
	return s.Code(Function{Name: Key(owner, "code"), CodeDigest: digest})
}
