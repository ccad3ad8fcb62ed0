package lineage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
)

// marksName is the file of pins, tags and expiries.
const (
	marksName     = "marks"
	marksVersion  = 1
	maxMarksBytes = 256 << 20
	maxTagBytes   = 128
	maxWordBytes  = 64 // of a tag's name, and of its version
)

// Marks changes what people have said about nodes: tags, pins and expiries. A Catalogue
// lists them.
type Marks struct{ store *Store }

// Marks returns what changes the marks.
func (s *Store) Marks() Marks { return Marks{s} }

// MarkKind says what a Mark does.
type MarkKind string

const (
	MarkTag    MarkKind = "tag"    // names a node; it is kept
	MarkPin    MarkKind = "pin"    // keeps a node, until Expires if that is set
	MarkExpiry MarkKind = "expiry" // lets GC remove a node after Expires
)

// Mark is something that people have said about a node. It is immutable.
type Mark struct {
	Kind    MarkKind  `json:"kind"`
	Name    string    `json:"name,omitempty"` // of a tag
	Node    string    `json:"node"`           // id
	Expires time.Time `json:"expires,omitzero"`
}

// key is what makes a mark unique: a tag's name, or a node's id.
func (m *Mark) key() string {
	if m.Kind == MarkTag {
		return string(m.Kind) + " " + m.Name
	}
	return string(m.Kind) + " " + m.Node
}

// keeps reports whether the mark protects its node at that time.
func (m *Mark) keeps(now time.Time) bool {
	return m.Kind == MarkTag || m.Kind == MarkPin && (m.Expires.IsZero() || now.Before(m.Expires))
}

// ValidTag reports whether name may be a tag: name or name@version, each of 1 to
// 64 of A-Z a-z 0-9 _ - and, in the version, dot. What could be the beginning of
// an id, hex digits only, is no tag.
func ValidTag(name string) bool {
	base, version, versioned := strings.Cut(name, "@")
	if !validWord(base) || len(name) > maxTagBytes {
		return false
	}
	if versioned {
		return validWord(strings.ReplaceAll(version, ".", "_"))
	}
	return strings.Trim(name, "0123456789abcdef") != ""
}

// validWord reports whether s is 1 to 64 of A-Z a-z 0-9 _ -.
func validWord(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxWordBytes
}

// SetTag gives a node a name, taking it from the node that had it.
func (s Marks) SetTag(name, id string) error {
	if !ValidTag(name) {
		return fmt.Errorf("tag %q is not NAME or NAME@VERSION of letters, digits, _ and -, and not all hex digits: %w", name, nodefile.ErrInvalid)
	}
	return s.mark(Mark{Kind: MarkTag, Name: name, Node: id})
}

// RemoveTag takes a name away. The error matches ErrNotFound if nothing has it.
func (s Marks) RemoveTag(name string) error { return s.unmark(Mark{Kind: MarkTag, Name: name}) }

// Pin keeps a node from being removed, until expires unless that is zero.
func (s Marks) Pin(id string, expires time.Time) error {
	return s.mark(Mark{Kind: MarkPin, Node: id, Expires: expires.UTC().Round(0)})
}

// Unpin is the opposite of Pin. The error matches ErrNotFound if it is not pinned.
func (s Marks) Unpin(id string) error { return s.unmark(Mark{Kind: MarkPin, Node: id}) }

// SetExpiry lets GC remove a node, and what hangs on it, after a time; a zero time
// takes that back.
func (s Marks) SetExpiry(id string, at time.Time) error {
	if at.IsZero() {
		if err := s.unmark(Mark{Kind: MarkExpiry, Node: id}); !errors.Is(err, ErrNotFound) {
			return err
		}
		return nil
	}
	return s.mark(Mark{Kind: MarkExpiry, Node: id, Expires: at.UTC().Round(0)})
}

func (s Marks) mark(m Mark) error {
	err := s.changeMarks(func(marks map[string]*Mark) error {
		if s.store.lookup(m.Node) == nil {
			return ErrNotFound
		}
		marks[m.key()] = &m
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s node %s: %w", m.Kind, m.Node, err)
	}
	return nil
}

func (s Marks) unmark(m Mark) error {
	err := s.changeMarks(func(marks map[string]*Mark) error {
		if marks[m.key()] == nil {
			return ErrNotFound
		}
		delete(marks, m.key())
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove %s: %w", m.key(), err)
	}
	return nil
}

// changeMarks lets f change the marks, stores them, and then shows them.
func (s Marks) changeMarks(f func(map[string]*Mark) error) error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if err := s.store.writable(); err != nil {
		return err
	}
	old := s.store.catalogue().Marks()
	marks := make(map[string]*Mark, len(old)+1)
	for _, m := range old {
		marks[m.key()] = m
	}
	if err := f(marks); err != nil {
		return err
	}
	return s.storeMarks(marks)
}

// storeMarks needs s.mu.
func (s Marks) storeMarks(marks map[string]*Mark) error {
	list := make([]*Mark, 0, len(marks))
	for _, m := range marks {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *Mark) int { return strings.Compare(a.key(), b.key()) })
	b, err := json.Marshal(marksFile{marksVersion, list})
	if err != nil {
		return fmt.Errorf("encode marks: %w", err)
	}
	old := map[string]*Mark{}
	for _, m := range s.store.catalogue().Marks() {
		old[m.key()] = m
	}
	txn := s.store.db.Txn(true)
	defer txn.Abort()
	if _, err := txn.DeleteAll(markTable, idIndex+"_prefix", ""); err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	for _, m := range list {
		if err := txn.Insert(markTable, m); err != nil {
			return fmt.Errorf("catalogue mark %s: %w", m.key(), err)
		}
	}
	if err := s.store.fs.WriteFile(s.store.path(marksName), append(b, '\n')); err != nil {
		return err
	}
	txn.Commit()
	for _, m := range list {
		if old[m.key()] == nil || *old[m.key()] != *m {
			s.store.changes.Marks.Changed(m.Node)
		}
	}
	for key, m := range old {
		if now := marks[key]; now == nil || now.Node != m.Node {
			s.store.changes.Marks.Changed(m.Node)
		}
	}
	return nil
}

type marksFile struct {
	Version int     `json:"version"`
	Marks   []*Mark `json:"marks"`
}

// decodeMarks reads what storeMarks writes.
func decodeMarks(b []byte) ([]*Mark, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, fmt.Errorf("marks: %w: %w", err, nodefile.ErrFormat)
	}
	if version.Version != marksVersion {
		return nil, fmt.Errorf("marks: version is %d, this program reads %d: %w", version.Version, marksVersion, nodefile.ErrVersion)
	}
	var file marksFile
	if err := nodefile.DecodeStrict(b, &file); err != nil {
		return nil, fmt.Errorf("marks: %w: %w", err, nodefile.ErrFormat)
	}
	seen := map[string]bool{}
	for _, m := range file.Marks {
		switch {
		case m == nil || !nodefile.ValidDigest(m.Node) || seen[m.key()]:
			return nil, fmt.Errorf("marks: %+v has no node or is there twice: %w", m, nodefile.ErrFormat)
		case m.Kind == MarkTag && ValidTag(m.Name) && m.Expires.IsZero():
		case m.Kind == MarkPin && m.Name == "":
		case m.Kind == MarkExpiry && m.Name == "" && !m.Expires.IsZero():
		default:
			return nil, fmt.Errorf("marks: %+v: %w", *m, nodefile.ErrFormat)
		}
		seen[m.key()] = true
	}
	return file.Marks, nil
}

// scanMarks catalogues the marks of nodes that are there. A damaged file is
// listed as damage; it is replaced by the next change.
func (s scanner) scanMarks() error {
	b, err := sealed.ReadFile(s.path(marksName), maxMarksBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var marks []*Mark
	if err == nil {
		marks, err = decodeMarks(b)
	}
	if err != nil {
		s.damaged = append(s.damaged, Damage{s.path(marksName), err})
		return nil
	}
	txn := s.db.Txn(true)
	defer txn.Abort()
	for _, m := range marks {
		if s.lookup(m.Node) == nil {
			continue // of a node that was removed before its mark
		}
		if err := txn.Insert(markTable, m); err != nil {
			return fmt.Errorf("catalogue mark %s: %w", m.key(), err)
		}
	}
	txn.Commit()
	return nil
}

// kept says, for each node that marks protect, by which; now decides about pins
// that expire.
func kept(marks []*Mark, now time.Time) map[string]string {
	why := map[string]string{}
	for _, m := range marks {
		if m.keeps(now) {
			text := "pinned"
			if m.Kind == MarkTag {
				text = "tagged " + m.Name
			}
			why[m.Node] = cmp.Or(why[m.Node], text)
		}
	}
	return why
}
