// Package watch says when a file, or a file of a directory, has changed. A burst of
// changes, such as an editor or a compiler makes, is one.
//
// Names are followed, not files: what is written anew and renamed into place has changed,
// and a directory that goes and comes back is watched again.
//
// Ownership: a Watcher has inotify's descriptor until Close, and is used by one goroutine.
// Locks: none.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A change is told when nothing more has come for quiet, or after longest.
const (
	quiet   = 150 * time.Millisecond
	longest = 2 * time.Second
)

// Watcher watches a path.
type Watcher struct {
	path   string
	skip   func(rel string) bool
	notify *fsnotify.Watcher
}

// Open watches a file or a directory with all below it, but for what skip holds of, by its
// slash-separated path below the directory; nil skips nothing.
func Open(path string, skip func(rel string) bool) (*Watcher, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, remedy(err))
	}
	w := &Watcher{abs, skip, n}
	// The directory that it lies in tells of what takes its name.
	if err := errors.Join(n.Add(filepath.Dir(abs)), w.below(abs)); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", path, remedy(err)), n.Close())
	}
	return w, nil
}

// Close ends the watch.
func (w *Watcher) Close() error { return w.notify.Close() }

// remedy says what to do about the kernel's limits (inotify(7)).
func remedy(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: more directories than this user may watch; raise it with: sysctl fs.inotify.max_user_watches=N", err)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%w: more watchers than this user may have; raise it with: sysctl fs.inotify.max_user_instances=N", err)
	}
	return err
}

// below watches a directory and those below it. What is no directory, or is gone, is
// told by the directory above.
func (w *Watcher) below(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ignoreGone(err)
	}
	return filepath.WalkDir(real, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		if !d.IsDir() {
			return nil
		}
		// Events name what they are of by the path that was added.
		p = filepath.Join(dir, strings.TrimPrefix(p, real))
		if w.skipped(p) {
			return fs.SkipDir
		}
		return ignoreGone(w.notify.Add(p))
	})
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}

func (w *Watcher) skipped(p string) bool {
	rel, err := filepath.Rel(w.path, p)
	return err == nil && rel != "." && w.skip != nil && w.skip(filepath.ToSlash(rel))
}

// concerns reports whether an event is about the path or what is below it.
func (w *Watcher) concerns(e fsnotify.Event) bool {
	return e.Op != fsnotify.Chmod && (e.Name == w.path || strings.HasPrefix(e.Name, w.path+string(filepath.Separator))) && !w.skipped(e.Name)
}

// Next waits for the next change. Its error is the context's, or says why there will be no
// more changes.
func (w *Watcher) Next(ctx context.Context) error {
	var settled, late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-settled:
			return nil
		case <-late:
			return nil
		case err, open := <-w.notify.Errors:
			if !open {
				return fmt.Errorf("watch %s: it was closed", w.path)
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch %s: %w", w.path, remedy(err))
			}
			if err := w.below(w.path); err != nil { // some may have come unseen
				return fmt.Errorf("watch %s: %w", w.path, remedy(err))
			}
		case e, open := <-w.notify.Events:
			if !open {
				return fmt.Errorf("watch %s: it was closed", w.path)
			}
			if !w.concerns(e) {
				continue
			}
			if e.Has(fsnotify.Create) {
				if err := w.below(e.Name); err != nil {
					return fmt.Errorf("watch %s: %w", e.Name, remedy(err))
				}
			}
		}
		settled = time.After(quiet)
		if late == nil {
			late = time.After(longest)
		}
	}
}
