package layers

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"seuss/dispatcher/bundle"
	"seuss/lineage/sealed"
)

// What an owner may publish.
const (
	MaxPublished = 1000
	MaxBytes     = 4 << 30 // of archives
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrNotFound: there is no such version.
	ErrNotFound = errors.New("no such layer version")
	// ErrFull: the owner has as many versions, or bytes of archives, as he may have.
	ErrFull = errors.New("too many layer versions")
	// ErrArchive: what is to be published is no usable archive.
	ErrArchive = errors.New("not a usable layer archive")
)

const (
	dirName         = "published"
	lastName        = "last"
	describedSuffix = ".json"
	archiveSuffix   = ".zip"
	maxRecord       = 64 << 10
)

// Version is a published layer.
type Version struct {
	Owner  string `json:"-"`
	Name   string `json:"-"`
	Number uint64 `json:"-"` // from 1 on

	Description   string    `json:"description,omitempty"`
	License       string    `json:"license,omitempty"`
	Runtimes      []string  `json:"runtimes,omitempty"`
	Architectures []string  `json:"architectures,omitempty"`
	Created       time.Time `json:"created"`
	SHA256        []byte    `json:"sha256"`   // of the archive
	Bytes         int64     `json:"bytes"`    // likewise
	Unpacked      int64     `json:"unpacked"` // of its files
}

// Store is the published layers of a state directory. It is safe for concurrent use.
type Store struct {
	dir string
	fs  sealed.FS
	mu  sync.Mutex // one change at a time
}

// New returns the store of a state directory, which it makes when something is published.
func New(stateDir string) *Store {
	return &Store{dir: filepath.Join(stateDir, dirName), fs: sealed.OS()}
}

// valid reports whether owner and name are one part of a path each.
func valid(owner, name string) bool {
	for _, part := range []string{owner, name} {
		if part == "" || part == "." || part == ".." || len(part) > 255 || strings.ContainsAny(part, "/\x00") {
			return false
		}
	}
	return true
}

func (s *Store) path(owner, name string, number uint64, suffix string) string {
	return filepath.Join(s.dir, owner, name, strconv.FormatUint(number, 10)+suffix)
}

// Publish adds a version of a layer, whose number it gives.
func (s *Store) Publish(v Version, archive []byte) (Version, error) {
	if !valid(v.Owner, v.Name) {
		return v, fmt.Errorf("publish layer %.200q: %w", v.Name, ErrNotFound)
	}
	sum := sha256.Sum256(archive)
	v.SHA256, v.Bytes, v.Created = sum[:], int64(len(archive)), time.Now().UTC().Truncate(time.Millisecond)
	var err error
	if v.Unpacked, err = checkArchive(archive); err != nil {
		return v, fmt.Errorf("publish layer %s: %w: %w", v.Name, ErrArchive, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, err = s.publish(v, archive); err != nil {
		return v, fmt.Errorf("publish layer %s: %w", v.Name, err)
	}
	return v, nil
}

func (s *Store) publish(v Version, archive []byte) (Version, error) {
	all, err := s.List(v.Owner)
	if err != nil {
		return v, err
	}
	bytes := v.Bytes
	for _, other := range all {
		bytes += other.Bytes
	}
	if len(all) >= MaxPublished || bytes > MaxBytes {
		return v, fmt.Errorf("%w: an owner has at most %d, and %d bytes of archives: delete some", ErrFull, MaxPublished, int64(MaxBytes))
	}
	dir := filepath.Join(s.dir, v.Owner, v.Name)
	if err := os.MkdirAll(dir, sealed.DirMode); err != nil {
		return v, err
	}
	if err := sealed.Sweep(dir); err != nil {
		return v, err
	}
	last, err := sealed.ReadFile(filepath.Join(dir, lastName), 32)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	if len(last) > 0 {
		if v.Number, err = strconv.ParseUint(strings.TrimSpace(string(last)), 10, 63); err != nil {
			return v, fmt.Errorf("%s: %w", filepath.Join(dir, lastName), err)
		}
	}
	v.Number++
	record, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	for _, f := range []struct {
		path    string
		content []byte
	}{
		{filepath.Join(dir, lastName), []byte(strconv.FormatUint(v.Number, 10) + "\n")},
		{s.path(v.Owner, v.Name, v.Number, archiveSuffix), archive},
		{s.path(v.Owner, v.Name, v.Number, describedSuffix), record}, // now it is there
	} {
		if err := s.fs.WriteFile(f.path, f.content); err != nil {
			// Of what is not there nothing is listed, counted or deleted later.
			return v, errors.Join(err, s.remove(v.Owner, v.Name, v.Number))
		}
	}
	return v, nil
}

// checkArchive returns how many bytes the files of an archive have.
func checkArchive(archive []byte) (int64, error) {
	from, err := openArchive(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return 0, err
	}
	return from.size()
}

// Get returns a version.
func (s *Store) Get(owner, name string, number uint64) (Version, error) {
	v := Version{Owner: owner, Name: name, Number: number}
	if !valid(owner, name) || number == 0 {
		return v, ErrNotFound
	}
	b, err := sealed.ReadFile(s.path(owner, name, number, describedSuffix), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return v, fmt.Errorf("%w: %s:%d", ErrNotFound, name, number)
	}
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		return v, fmt.Errorf("layer %s:%d: %w", name, number, err)
	}
	return v, nil
}

// Archive reads what was published.
func (s *Store) Archive(v Version) ([]byte, error) {
	b, err := sealed.ReadFile(s.path(v.Owner, v.Name, v.Number, archiveSuffix), bundle.MaxZipBytes)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("archive of layer %s:%d: %w", v.Name, v.Number, err)
	}
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:], v.SHA256) {
		return nil, fmt.Errorf("archive of layer %s:%d is damaged: its SHA-256 is %x, %x was published: delete the version and publish it again", v.Name, v.Number, sum, v.SHA256)
	}
	return b, nil
}

// List returns the versions of all layers of an owner, by name, the latest first.
func (s *Store) List(owner string) ([]Version, error) {
	names, err := entries(filepath.Join(s.dir, owner))
	if err != nil || !valid(owner, owner) {
		return nil, err
	}
	var all []Version
	for _, name := range names {
		list, err := s.Versions(owner, name)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// Versions returns the versions of a layer, the latest first.
func (s *Store) Versions(owner, name string) (list []Version, err error) {
	if !valid(owner, name) {
		return nil, nil
	}
	names, err := entries(filepath.Join(s.dir, owner, name))
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		text, ok := strings.CutSuffix(file, describedSuffix)
		number, err := strconv.ParseUint(text, 10, 63)
		if !ok || err != nil {
			continue
		}
		v, err := s.Get(owner, name, number)
		if errors.Is(err, ErrNotFound) {
			continue // deleted meanwhile
		} else if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Version) int { return cmp.Compare(b.Number, a.Number) })
	return list, nil
}

// entries are the names in a directory, sorted; none where there is no such.
func entries(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("published layers: %w", err)
	}
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, nil
}

// Delete removes a version. One that is not there is no error, as with AWS Lambda.
func (s *Store) Delete(owner, name string, number uint64) error {
	if !valid(owner, name) || number == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(owner, name, number)
}

// remove is Delete; mu is held.
func (s *Store) remove(owner, name string, number uint64) error {
	for _, suffix := range []string{describedSuffix, archiveSuffix} {
		if err := s.fs.Delete(s.path(owner, name, number, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete layer %s:%d: %w", name, number, err)
		}
	}
	return nil
}
