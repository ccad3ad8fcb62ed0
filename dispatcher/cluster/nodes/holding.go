package nodes

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"seuss/dispatcher/cluster/held"
	"seuss/dispatcher/cluster/members"
	"seuss/lineage"
)

const (
	// tellEvery is how often a filter is told that has not changed: whoever has missed it has
	// it then.
	tellEvery = 5 * time.Second
	// lookShare bounds the part of its time that a processor looks for what has changed.
	lookShare = 50
)

// Holding is what a member says that it holds.
type Holding struct {
	store *lineage.Store

	mu      sync.Mutex
	changed <-chan struct{}
	last    members.Held
	next    time.Time // that it may be looked for again
	told    time.Time
}

// NewHolding makes it of a store.
func NewHolding(store *lineage.Store) *Holding { return &Holding{store: store} }

// Beat returns what the next beat says: all of it where it has changed, or now and then, or where
// somebody has come.
func (h *Holding) Beat(all bool) members.Held {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.stale() && now.After(h.next) {
		h.look()
		h.next = time.Now().Add(lookShare * time.Since(now))
		all = true
	}
	b := h.last
	if !all && now.Sub(h.told) < tellEvery {
		b.Filter = nil
	} else {
		h.told = now
	}
	return b
}

// stale reports whether the store has changed. mu is held.
func (h *Holding) stale() bool {
	select {
	case <-h.changed:
		return true
	default:
		return h.changed == nil
	}
}

// look finds what there is. mu is held.
func (h *Holding) look() {
	catalogue := h.store.Catalogue()
	h.changed = catalogue.Watch()
	list := slices.DeleteFunc(catalogue.Kind(lineage.KindFunction), func(n *lineage.Node) bool {
		parent, err := catalogue.Get(n.Parent)
		return err != nil || parent.Private() // what hangs on a checkpoint stays where that is
	})
	h.last.Functions = len(list)
	if len(list) > held.MaxFunctions {
		slices.SortFunc(list, func(a, b *lineage.Node) int { return cmp.Compare(used(b), used(a)) })
		list = list[:held.MaxFunctions]
	}
	keys := make([]held.Key, len(list))
	for i, n := range list {
		keys[i] = held.KeyOf(n.Key.Function, n.Key.CodeDigest)
	}
	h.last.Filter = held.New(keys).Encode()
}

// used is when a node was used last, or came.
func used(n *lineage.Node) int64 { return max(n.LastUsed().UnixNano(), n.Created.UnixNano()) }
