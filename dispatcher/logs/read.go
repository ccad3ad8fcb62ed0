package logs

import (
	"path/filepath"
	"slices"
	"time"
)

// Bounds of what is read at a time.
const (
	DefaultEntries = 1000
	MaxEntries     = 10_000
	maxReadBytes   = 16 << 20
)

// Query says which entries are wanted: the newest of those that fit.
type Query struct {
	After     uint64    // only entries with higher numbers
	Since     time.Time // only entries from then on
	RequestID string    // only those of a request; "": any
	Versions  []string  // only those of these, as in Entry.Version; nil: any
	Entries   int       // at most so many; 0: DefaultEntries, more than MaxEntries: those
}

// Fits reports whether an entry is one of those that are wanted.
func (q *Query) Fits(e *Entry) bool {
	return e.Seq > q.After && !e.Time.Before(q.Since) && (q.RequestID == "" || q.RequestID == e.RequestID) && (q.Versions == nil || slices.Contains(q.Versions, e.Version))
}

// Read returns entries of a log in a directory of a Store's, oldest first, whether a
// service has it open or not. What does not fit in 16 MiB is left out, the oldest first.
func Read(dir string, k Key, q Query) ([]Entry, error) {
	if q.Entries <= 0 {
		q.Entries = DefaultEntries
	}
	q.Entries = min(q.Entries, MaxEntries)
	dir = filepath.Join(dir, k.dir())
	numbers, err := listSegments(dir)
	if err != nil {
		return nil, err
	}
	found := []Entry{}
	bytes := 0
	for i := len(numbers) - 1; i >= 0 && len(found) < q.Entries && bytes < maxReadBytes; i-- {
		b, err := readSegment(segmentPath(dir, numbers[i]), maxSegment+1)
		if err != nil {
			return nil, err
		}
		var here []Entry
		all := true // none of this segment is too old
		decodeSegment(b, func(e *Entry) bool {
			all = all && e.Seq > q.After && !e.Time.Before(q.Since)
			if q.Fits(e) {
				here = append(here, *e)
			}
			return true
		})
		from := len(here)
		for from > 0 && len(found)+len(here)-from < q.Entries && bytes < maxReadBytes {
			from--
			bytes += here[from].size()
		}
		found = append(here[from:], found...)
		if !all {
			break
		}
	}
	return found, nil
}

// Read is the function Read for a log of the store's.
func (s *Store) Read(k Key, q Query) ([]Entry, error) {
	if old := s.o.Now().Add(-s.o.Age); q.Since.Before(old) {
		q.Since = old
	}
	return Read(s.o.Dir, k, q)
}
