package access

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often the file is looked at.
const lookEvery = time.Second

// Keeper has the present table of a state directory's file.
type Keeper struct {
	dir   string
	log   *slog.Logger
	table atomic.Pointer[Table]
	ends  chan struct{}
	done  sync.WaitGroup

	mu   sync.Mutex
	seen os.FileInfo // nil: there was none
	bad  bool        // what there is could not be read, which the log says once
}

// Open reads the file of a state directory and follows it. A file that cannot be read
// is an error.
func Open(dir string, log *slog.Logger) (*Keeper, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{dir: dir, log: log, ends: make(chan struct{})}
	if err := k.Reload(); err != nil {
		return nil, err
	}
	k.done.Go(k.follow)
	return k, nil
}

// Close ends the following.
func (k *Keeper) Close() {
	close(k.ends)
	k.done.Wait()
}

// Quota returns what an owner may have.
func (k *Keeper) Quota(owner string) Quota { return k.Table().Quota(owner) }

// Table returns the present table.
func (k *Keeper) Table() *Table { return k.table.Load() }

func (k *Keeper) follow() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-k.ends:
			return
		case <-tick.C:
			_ = k.Reload() // it has logged it
		}
	}
}

// Reload reads the file if it is another one than before. Where it cannot be read what
// was read last stands: nobody is let in, or shut out, by a mistake in a file.
func (k *Keeper) Reload() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	st, err := os.Stat(filepath.Join(k.dir, FileName))
	if err != nil {
		st = nil // ReadFile tells what is wrong
	}
	if k.table.Load() != nil && !k.bad && same(st, k.seen) {
		return nil
	}
	f, err := ReadFile(k.dir)
	var t *Table
	if err == nil {
		t, err = f.Table()
	}
	k.seen = st
	if err != nil {
		if k.table.Load() != nil && !k.bad {
			k.log.Error("the tokens cannot be read; those from before stand", "error", err)
		}
		k.bad = true
		return fmt.Errorf("read tokens: %w", err)
	}
	if k.table.Load() != nil {
		k.log.Info("tokens were read anew", "tokens", len(f.Tokens))
	}
	k.bad = false
	if old := k.table.Swap(t); old != nil {
		close(old.replaced)
	}
	return nil
}

// same reports whether nothing has been written since.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}
