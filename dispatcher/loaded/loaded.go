// Package loaded keeps what is loaded of nodes: a node has one snapshot, whoever asks.
//
// Ownership: snapshots are shared; whoever stands at one holds it (instance.Snapshot.Hold).
//
// Locks: Snapshots.mu, a leaf; nothing is loaded under it.
package loaded

import (
	"maps"
	"slices"
	"sync"

	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// Snapshots keeps what is loaded of nodes: a node has one snapshot, whoever asks. What
// the store removes or unloads is let go of.
type Snapshots struct {
	host  *instance.Host
	nodes *lineage.Store

	mu   sync.RWMutex
	byID map[string]*instance.Snapshot
}

// New keeps nothing yet.
func New(host *instance.Host, nodes *lineage.Store) *Snapshots {
	return &Snapshots{host: host, nodes: nodes, byID: map[string]*instance.Snapshot{}}
}

// Get returns the snapshot of a node.
func (c *Snapshots) Get(id string) (*instance.Snapshot, error) {
	c.mu.RLock()
	s := c.byID[id]
	c.mu.RUnlock()
	if s != nil && c.current(s) {
		return s, nil
	}
	s, err := c.host.Load(id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.byID[id]; other != nil && other.Node == s.Node {
		return other, nil // somebody else was faster
	}
	c.byID[id] = s
	return s, nil
}

// current reports whether the store still has the node.
func (c *Snapshots) current(s *instance.Snapshot) bool {
	n, err := c.nodes.Get(s.Node.ID)
	return err == nil && n == s.Node
}

// Drop lets go of a node's snapshot and returns it, nil if there was none.
func (c *Snapshots) Drop(id string) *instance.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byID[id]
	delete(c.byID, id)
	return s
}

// Sweep drops the snapshots of nodes that are gone.
func (c *Snapshots) Sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.byID {
		if !c.current(s) {
			delete(c.byID, id)
		}
	}
}

// Held adds the nodes that instances stand at.
func (c *Snapshots) Held(ids map[string]bool) {
	for _, s := range c.All() {
		if s.Held() {
			ids[s.Node.ID] = true
		}
	}
}

// All returns what is loaded now.
func (c *Snapshots) All() []*instance.Snapshot {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Collect(maps.Values(c.byID))
}
