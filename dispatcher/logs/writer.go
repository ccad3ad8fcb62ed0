package logs

import (
	"slices"
	"time"
)

// writer is the goroutine that writes, and what only it uses. What a write costs does not
// depend on how many functions there are.
type writer struct {
	s          *Store
	files      map[Key]*file
	rank       rank
	recent     []*file        // those that were used last, the last of them last: no other is open
	unsaid     map[Key]uint64 // entries that the disk did not take, which the log does not say yet
	complained time.Time
}

func newWriter(s *Store) *writer {
	return &writer{s: s, files: map[Key]*file{}, rank: rank{byName: map[string]*ownerFiles{}}, unsaid: map[Key]uint64{}}
}

func (w *writer) run() {
	defer close(w.s.done)
	w.find()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		for {
			k, batch := w.s.take()
			if batch == nil {
				break
			}
			w.write(k, batch)
		}
		w.s.mu.Lock()
		closed := w.s.closed
		w.s.mu.Unlock()
		if closed {
			break
		}
		select {
		case <-w.s.wake:
		case <-tick.C:
			w.sweep()
		}
	}
	for _, f := range w.recent {
		f.close()
	}
}

// write appends a batch to its function's log and tells its followers: as much of it at a
// time as goes into a segment.
func (w *writer) write(k Key, batch []Entry) {
	f, err := w.file(k)
	if err != nil {
		w.fail(k, batch, err)
		return
	}
	size := min(w.s.o.Bytes/segmentsOfAll, maxSegment)
	room := int(size) - len(segmentMagic)
	now := w.s.o.Now()
	for len(batch) > 0 {
		var frames []byte
		n := 0
		for n < len(batch) {
			e := &batch[n]
			if n == 0 {
				e.Dropped += w.unsaid[k]
				delete(w.unsaid, k)
			}
			if e.Seq == 0 {
				e.Seq = f.number(now)
			}
			var payload []byte
			if payload, err = e.encode(room - frameHeader); err != nil || len(frames)+frameHeader+len(payload) > room {
				break
			}
			frames = appendFrame(frames, payload)
			n++
		}
		if n == 0 { // the first cannot be written as an entry
			w.fail(k, batch[:1], err)
			batch = batch[1:]
			continue
		}
		if err := w.append(f, frames, size); err != nil {
			w.fail(k, batch, err)
			return
		}
		w.s.written.Add(entriesIn(batch[:n]))
		w.s.tell(k, batch[:n])
		batch = batch[n:]
	}
}

// append writes frames to a log, for which its oldest segments make room.
func (w *writer) append(f *file, frames []byte, size int64) error {
	defer w.shrink()
	defer w.count(f)
	for f.bytes+int64(len(segmentMagic)+len(frames)) > w.s.o.Bytes && len(f.segments) > 1 {
		if err := f.removeOldest(); err != nil {
			return err
		}
	}
	return f.append(frames, w.s.o.Now(), size, w.s.o.Age/8)
}

// count brings what all logs take up to date with one of them.
func (w *writer) count(f *file) { w.s.bytes.Add(w.rank.count(f)) }

// entriesIn counts what was given to Add.
func entriesIn(batch []Entry) (n uint64) {
	for i := range batch {
		if batch[i].Kind != Dropped {
			n++
		}
	}
	return n
}

// fail accounts for entries that were not written, and for what they would have said, and
// says so from time to time.
func (w *writer) fail(k Key, batch []Entry, err error) {
	lost := entriesIn(batch)
	w.s.lost.Add(lost)
	w.unsaid[k] += lost
	for i := range batch {
		w.unsaid[k] += batch[i].Dropped
	}
	if len(w.unsaid) > maxUnsaid {
		clear(w.unsaid)
	}
	if w.mayComplain() {
		w.s.o.Log.Error("a function's log cannot be written: its entries are dropped, as are those of others until it can", "function", k.Function, "entries", len(batch), "error", err)
	}
}

// mayComplain: it is long enough since the last time.
func (w *writer) mayComplain() bool {
	now := w.s.o.Now()
	if now.Sub(w.complained) < complainEvery {
		return false
	}
	w.complained = now
	return true
}

// maxUnsaid bounds of how many functions it is remembered that entries were lost.
const maxUnsaid = 10_000

// file returns a function's log, with its end known, and keeps the number of open ones in
// bounds.
func (w *writer) file(k Key) (*file, error) {
	f := w.files[k]
	if f == nil {
		var err error
		if f, err = openFile(w.s.o.Dir, k); err != nil {
			return nil, err
		}
		w.files[k] = f
	}
	defer w.count(f)
	if i := slices.Index(w.recent, f); i >= 0 {
		w.recent = slices.Delete(w.recent, i, i+1)
	} else if len(w.recent) >= maxOpen {
		w.recent[0].close()
		w.recent = slices.Delete(w.recent, 0, 1)
	}
	w.recent = append(w.recent, f)
	if !f.scanned {
		return f, f.scan()
	}
	return f, nil
}
