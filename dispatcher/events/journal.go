package events

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"seuss/lineage/sealed"
)

// Journal keeps asynchronous events on disk from their acceptance until they are
// done, so that they outlive the service. It is a bbolt file, whose pages are written
// over again and again, and no sealed one: an event costs a page, not a file, and
// events that are accepted at the same time share one sync.
type Journal struct{ db *bbolt.DB }

// ErrVersion: the journal is another release's.
var ErrVersion = errors.New("it has events in another format")

// These name the buckets and the versions of their records.
var (
	journalBucket = []byte("seuss events 1")
	givenUpBucket = []byte("seuss events given up 1")
	buckets       = [][]byte{journalBucket, givenUpBucket}
)

// journalDelay is how long an event waits for others to share its sync.
const journalDelay = time.Millisecond

// record is an event in the journal, as JSON.
type record struct {
	Function      string          `json:"function"`
	Event         json.RawMessage `json:"event"`
	RequestID     string          `json:"request_id"`
	ARN           string          `json:"arn,omitempty"`
	ClientContext json.RawMessage `json:"client_context,omitempty"`
	Accepted      time.Time       `json:"accepted"`
	Failures      int             `json:"failures,omitempty"`
	FunctionID    string          `json:"function_id,omitempty"`
	Error         string          `json:"error,omitempty"` // of the last failure
	Hops          int             `json:"hops,omitempty"`
}

// OpenJournal opens the journal in a file, or makes it. One process may have it
// open. The Queue that it is given to closes it.
func OpenJournal(path string) (*Journal, error) {
	fail := func(err error) (*Journal, error) {
		return nil, fmt.Errorf("journal of asynchronous events %s: %w (to start without its events, move it away)", path, err)
	}
	_, err := os.Lstat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return fail(err)
	}
	db.MaxBatchDelay = journalDelay
	err = db.Update(func(tx *bbolt.Tx) error {
		if err := checkVersion(tx); err != nil {
			return err
		}
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && isNew { // bbolt syncs the file, not its name
		err = sealed.OS().SyncDir(filepath.Dir(path))
	}
	if err != nil {
		db.Close()
		return fail(err)
	}
	return &Journal{db}, nil
}

// checkVersion refuses a journal that has what this release does not know.
func checkVersion(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if !slices.ContainsFunc(buckets, func(known []byte) bool { return bytes.Equal(name, known) }) {
			return fmt.Errorf("%w, %q: let that release run them to their end", ErrVersion, name)
		}
		return nil
	})
}

// put stores an event; one that has no key gets the next. It returns when the
// event is on disk.
func (j *Journal) put(e *queued) error {
	value, err := json.Marshal(record{e.Function, e.Payload, e.RequestID, e.ARN, e.ClientContext, e.accepted, e.failures, e.FunctionID, e.lastErr, e.Hops})
	if err != nil {
		return err
	}
	key := e.key
	if err := j.db.Batch(func(tx *bbolt.Tx) error { // may be called again
		b := tx.Bucket(journalBucket)
		key = e.key
		if key == 0 {
			var err error
			if key, err = b.NextSequence(); err != nil {
				return err
			}
		}
		return b.Put(journalKey(key), value)
	}); err != nil {
		return fmt.Errorf("journal of asynchronous events: %w", err)
	}
	e.key = key
	return nil
}

// remove forgets an event that is done. If it was given up, given is remembered, and what
// has become too much is not.
func (j *Journal) remove(e *queued, given *GivenUp, drop []GivenUp) error {
	return j.db.Batch(func(tx *bbolt.Tx) error {
		b := tx.Bucket(givenUpBucket)
		if given != nil {
			value, err := json.Marshal(given)
			if err == nil {
				err = b.Put(journalKey(given.key), value)
			}
			if err != nil {
				return err
			}
		}
		for i := range drop {
			if err := b.Delete(journalKey(drop[i].key)); err != nil {
				return err
			}
		}
		return tx.Bucket(journalBucket).Delete(journalKey(e.key))
	})
}

// load returns the events that are not done, in the order of their acceptance,
// and how many there are that cannot be read.
func (j *Journal) load() (events []*queued, damaged int, err error) {
	err = j.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(journalBucket)
		if b == nil {
			return nil // its service ended before it had made one
		}
		return b.ForEach(func(k, v []byte) error {
			e, err := decodeRecord(v)
			if err != nil || len(k) != 8 {
				damaged++
				return nil
			}
			e.key = binary.BigEndian.Uint64(k)
			events = append(events, e)
			return nil
		})
	})
	return events, damaged, err
}

func decodeRecord(b []byte) (*queued, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	if r.Function == "" || len(r.Event) == 0 || len(r.Event) > MaxPayload+4 || r.Failures < 0 || r.Hops < 0 {
		return nil, fmt.Errorf("no event for %q", r.Function)
	}
	e := &queued{Event: Event{Function: r.Function, FunctionID: r.FunctionID, Payload: r.Event, RequestID: r.RequestID, ARN: r.ARN, ClientContext: r.ClientContext, Hops: r.Hops}, accepted: r.Accepted, failures: r.Failures}
	e.lastErr = cutError(r.Error)
	return e, nil
}

// journalKey keeps the events in the order in which they came.
func journalKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Close closes a journal that no Queue was made with.
func (j *Journal) Close() error { return j.db.Close() }
