package logs

import (
	"os"
	"path/filepath"
)

// find looks at what there is of all logs, and removes those of nobody.
func (w *writer) find() {
	list, err := os.ReadDir(w.s.o.Dir)
	if err != nil {
		return // nothing was ever written, or what is written next says what is wrong
	}
	for _, d := range list {
		k, ok := keyOf(d.Name())
		if !ok || !d.IsDir() || w.files[k] != nil {
			continue
		}
		f, err := openFile(w.s.o.Dir, k)
		if err != nil {
			w.s.o.Log.Warn("a function's log cannot be read", "function", k.Function, "error", err)
			continue
		}
		w.files[k] = f
		w.count(f)
	}
	w.sweep()
}

// sweep removes the logs of functions that are gone, and what is too old.
func (w *writer) sweep() {
	now := w.s.o.Now()
	for k, f := range w.files {
		if !w.s.o.Known(k) {
			f.close()
			if err := os.RemoveAll(filepath.Join(w.s.o.Dir, k.dir())); err != nil {
				w.s.o.Log.Warn("the log of a function that was removed could not be", "function", k.Function, "error", err)
				continue
			}
			delete(w.files, k)
			delete(w.unsaid, k)
			f.segments, f.bytes = nil, 0
			w.count(f)
			continue
		}
		for len(f.segments) > 0 && now.Sub(f.segments[0].modified) > w.s.o.Age {
			if err := f.removeOldest(); err != nil {
				w.s.o.Log.Warn("an old log could not be removed", "function", k.Function, "error", err)
				break
			}
		}
		w.count(f)
	}
	w.shrink()
}

// shrink removes segments until all logs together are within their bounds: the oldest of
// the largest log of the owner who has most.
func (w *writer) shrink() {
	for w.s.bytes.Load() > w.s.o.Total {
		f := w.rank.first()
		if f == nil {
			return
		}
		if err := f.removeOldest(); err != nil {
			if w.mayComplain() {
				w.s.o.Log.Warn("logs take more than they may, and an old one could not be removed", "function", f.key.Function, "error", err)
			}
			return
		}
		w.count(f)
	}
}
