package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// file is a function's log as the writer knows it. Only the writer's goroutine uses it.
type file struct {
	key      Key
	dir      string
	segments []segment // oldest first
	bytes    int64     // of all
	seq      uint64    // of the last entry
	open     *os.File  // the last segment, if it is open for appending
	scanned  bool      // seq and the last segment's end are known
	standing           // as the writer has counted it
}

// segment is one file of it.
type segment struct {
	number   uint64
	bytes    int64
	began    time.Time // of its first entry, as far as that is known
	modified time.Time
}

// openFile looks at what there is of a log.
func openFile(root string, key Key) (*file, error) {
	f := &file{key: key, dir: filepath.Join(root, key.dir())}
	numbers, err := listSegments(f.dir)
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		st, err := os.Stat(segmentPath(f.dir, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.segments = append(f.segments, segment{number: n, bytes: st.Size(), began: st.ModTime(), modified: st.ModTime()})
		f.bytes += st.Size()
	}
	return f, nil
}

// scan finds the last entry, and the end of what is whole of the last segment.
func (f *file) scan() error {
	seq := uint64(0)
	for i := len(f.segments) - 1; i >= 0 && seq == 0; i-- {
		s := &f.segments[i]
		b, err := readSegment(segmentPath(f.dir, s.number), maxSegment+1)
		if err != nil {
			return err
		}
		first := true
		valid := decodeSegment(b, func(e *Entry) bool {
			if first {
				s.began, first = e.Time, false
			}
			seq = e.Seq
			return true
		})
		if i == len(f.segments)-1 && int64(valid) != s.bytes {
			if err := os.Truncate(segmentPath(f.dir, s.number), int64(valid)); err != nil {
				return err
			}
			f.bytes += int64(valid) - s.bytes
			s.bytes = int64(valid)
		}
	}
	f.seq, f.scanned = max(f.seq, seq), true
	return nil
}

// append writes frames, to a new segment if the last has size bytes or is older than age.
func (f *file) append(frames []byte, now time.Time, size int64, age time.Duration) error {
	last := len(f.segments) - 1
	if last < 0 || f.segments[last].bytes+int64(len(frames)) > size || f.segments[last].bytes < int64(len(segmentMagic)) || now.Sub(f.segments[last].began) > age {
		if err := f.next(now); err != nil {
			return err
		}
	} else if f.open == nil {
		var err error
		if f.open, err = os.OpenFile(segmentPath(f.dir, f.segments[last].number), os.O_WRONLY|os.O_APPEND, 0); err != nil {
			return err
		}
	}
	s := &f.segments[len(f.segments)-1]
	n, err := f.open.Write(frames)
	if err != nil {
		// What is half there would end the segment for its readers.
		if n > 0 {
			if terr := f.open.Truncate(s.bytes); terr != nil {
				f.close()
				s.bytes += int64(n)
				f.bytes += int64(n)
				s.began = time.Time{} // a new one is begun
				return errors.Join(err, terr)
			}
		}
		return err
	}
	s.bytes += int64(n)
	f.bytes += int64(n)
	s.modified = now
	return nil
}

// next begins a new segment.
func (f *file) next(now time.Time) error {
	f.close()
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	number := uint64(1)
	if n := len(f.segments); n > 0 {
		number = f.segments[n-1].number + 1
	}
	open, err := os.OpenFile(segmentPath(f.dir, number), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := open.WriteString(segmentMagic); err != nil {
		open.Close()
		return errors.Join(err, os.Remove(segmentPath(f.dir, number)))
	}
	f.open = open
	f.segments = append(f.segments, segment{number, int64(len(segmentMagic)), now, now})
	f.bytes += int64(len(segmentMagic))
	return nil
}

func (f *file) close() {
	if f.open != nil {
		f.open.Close() // nothing is written back at a close
		f.open = nil
	}
}

// removeOldest removes the oldest segment.
func (f *file) removeOldest() error {
	s := f.segments[0]
	if len(f.segments) == 1 {
		f.close()
	}
	if err := os.Remove(segmentPath(f.dir, s.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.segments = f.segments[1:]
	f.bytes -= s.bytes
	if len(f.segments) == 0 {
		_ = os.Remove(f.dir) // empty directories harm nobody
	}
	return nil
}

// number returns the number of the next entry: the time in microseconds, unless that
// would not grow.
func (f *file) number(now time.Time) uint64 {
	f.seq = max(f.seq+1, uint64(max(now.UnixMicro(), 1)))
	return f.seq
}
