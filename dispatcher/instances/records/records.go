// Package records keeps small records by key in a file, to which each change is appended: a
// line is the CRC-32 of what follows, in hex, and JSON. What a crash has cut off at the end
// is as if it had not been written; a damaged line is left out, and said.
//
// Ownership: who opens a file has the lock of the directory that it is in. Locks: Log.mu is
// a leaf, and is held while a change is written.
package records

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"seuss/lineage/sealed"
)

// Bounds of a file.
const (
	maxBytes = 256 << 20
	maxLine  = 64 << 10
	slack    = 4 << 20 // bytes of what has been replaced beyond which a file is written anew, where they are the most of it
)

// Log is such a file. Its methods may be called from any goroutine.
type Log struct {
	path string
	fs   sealed.FS

	mu    sync.Mutex
	f     *os.File // nil: closed
	size  int64
	live  map[string][]byte // lines, by key
	bytes int64             // of these
}

// Change is a new record of a key; nil: it has none any more.
type Change struct {
	Key   string `json:"key"`
	Value any    `json:"value,omitempty"`
}

// Read returns the records that are in a file, and what is damaged; of none there are none.
func Read(path string) (records map[string]json.RawMessage, damaged []error, err error) {
	_, records, damaged, err = read(path)
	return records, damaged, err
}

func read(path string) (lines map[string][]byte, records map[string]json.RawMessage, damaged []error, err error) {
	b, err := sealed.ReadFile(path, maxBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, fmt.Errorf("read records: %w", err)
	}
	lines, records, damaged = Decode(b)
	return lines, records, damaged, nil
}

// Open opens the file, or makes it, and returns the records in it and what is damaged.
func Open(path string) (l *Log, records map[string]json.RawMessage, damaged []error, err error) {
	l = &Log{path: path, fs: sealed.OS()}
	if l.live, records, damaged, err = read(path); err != nil {
		return nil, nil, nil, err
	}
	for _, line := range l.live {
		l.bytes += int64(len(line))
	}
	if err := l.rewrite(); err != nil {
		return nil, nil, nil, fmt.Errorf("open records: %w", err)
	}
	return l, records, damaged, nil
}

// Decode reads a file: its newest lines and records, by key, and what is damaged.
func Decode(b []byte) (lines map[string][]byte, records map[string]json.RawMessage, damaged []error) {
	lines, records = map[string][]byte{}, map[string]json.RawMessage{}
	for n := 1; len(b) > 0; n++ {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if b = rest; !whole {
			break // a crash has cut it off
		}
		key, value, err := decode(line)
		switch {
		case err != nil:
			damaged = append(damaged, fmt.Errorf("record %d: %w", n, err))
		case value == nil:
			delete(lines, key)
			delete(records, key)
		default:
			lines[key], records[key] = append(bytes.Clone(line), '\n'), value
		}
	}
	return lines, records, damaged
}

const sumBytes = 8 // hex digits of a line's CRC

func decode(line []byte) (key string, value json.RawMessage, err error) {
	if len(line) <= sumBytes+1 || len(line) > maxLine || line[sumBytes] != ' ' {
		return "", nil, fmt.Errorf("a line of %d bytes is none", len(line))
	}
	body := line[sumBytes+1:]
	if sum, err := strconv.ParseUint(string(line[:sumBytes]), 16, 32); err != nil || uint32(sum) != crc32.ChecksumIEEE(body) {
		return "", nil, errors.New("its checksum is another")
	}
	var c struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return "", nil, err
	}
	return c.Key, c.Value, nil
}

func encode(c *Change) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	line := append(fmt.Appendf(nil, "%0*x ", sumBytes, crc32.ChecksumIEEE(body)), body...)
	if len(line) > maxLine {
		return nil, fmt.Errorf("a record of %d bytes, at most %d are allowed", len(line), maxLine)
	}
	return append(line, '\n'), nil
}

// Write makes changes, all at once. Where sync is set they are on the disk when it returns.
func (l *Log) Write(sync bool, changes ...Change) error {
	if err := l.write(sync, changes); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	return nil
}

func (l *Log) write(sync bool, changes []Change) error {
	var all []byte
	lines := make([][]byte, len(changes))
	for n := range changes {
		line, err := encode(&changes[n])
		if err != nil {
			return err
		}
		lines[n], all = line, append(all, line...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return fs.ErrClosed
	}
	if l.size+int64(len(all)) > maxBytes {
		return fmt.Errorf("%s would have more than %d bytes", l.path, maxBytes)
	}
	if _, err := l.f.Write(all); err != nil {
		return errors.Join(err, l.back())
	}
	if sync {
		if err := l.f.Sync(); err != nil {
			return errors.Join(err, l.back())
		}
	}
	l.size += int64(len(all))
	for n, c := range changes {
		l.bytes -= int64(len(l.live[c.Key]))
		if delete(l.live, c.Key); c.Value != nil {
			l.live[c.Key] = lines[n]
			l.bytes += int64(len(lines[n]))
		}
	}
	if l.size > slack && l.size > 2*l.bytes {
		_ = l.rewrite() // what there is is in the file that there is: another time, or at its bound
	}
	return nil
}

// back takes back what was written in part. mu is held.
func (l *Log) back() error {
	_, err := l.f.Seek(l.size, io.SeekStart)
	return errors.Join(l.f.Truncate(l.size), err)
}

// rewrite writes a file of what there is. After an error the one that there was goes on, or,
// where that has been replaced, none. mu is held, but while it is opened.
func (l *Log) rewrite() error {
	all := make([]byte, 0, l.bytes)
	for _, line := range l.live {
		all = append(all, line...)
	}
	if err := l.fs.WriteFile(l.path, all); err != nil {
		return err
	}
	if l.f != nil {
		l.f.Close() // what was in it is in the new one
		l.f = nil
	}
	if err := os.Chmod(l.path, sealed.OpenMode); err != nil { // it is sealed, and only root can write to such a file
		return err
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	l.f, l.size = f, int64(len(all))
	return nil
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := errors.Join(l.f.Sync(), l.f.Close())
	l.f = nil
	return err
}
