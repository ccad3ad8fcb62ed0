package instances

// Watcher is told how instances change.
type Watcher struct {
	k *Keeper
	c chan Info
}

// watched bounds what a watcher may be behind: who is further behind loses changes.
const watched = 1024

// Watch returns the changes from now on, each as the instance is after it, on a channel that
// is closed if there are more than somebody who does not read is told.
func (k *Keeper) Watch() *Watcher {
	w := &Watcher{k: k, c: make(chan Info, watched)}
	k.watching.Lock()
	defer k.watching.Unlock()
	k.seen[w] = struct{}{}
	return w
}

// Changes is what it is told.
func (w *Watcher) Changes() <-chan Info { return w.c }

// Close ends it.
func (w *Watcher) Close() {
	w.k.watching.Lock()
	defer w.k.watching.Unlock()
	w.end()
}

func (w *Watcher) end() {
	if _, ok := w.k.seen[w]; ok {
		delete(w.k.seen, w)
		close(w.c)
	}
}

// tell tells the watchers. It waits for nobody.
func (k *Keeper) tell(i Info) {
	k.watching.Lock()
	defer k.watching.Unlock()
	for w := range k.seen {
		select {
		case w.c <- i:
		default:
			w.end()
		}
	}
}
