package dispatcher

import (
	"sync"

	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// snapshots keeps what is loaded of nodes: a node has one snapshot, whoever asks. What
// the store removes or unloads is let go of.
type snapshots struct {
	host  *instance.Host
	nodes *lineage.Store

	mu   sync.RWMutex
	byID map[string]*instance.Snapshot
}

func newSnapshots(host *instance.Host, nodes *lineage.Store) *snapshots {
	return &snapshots{host: host, nodes: nodes, byID: map[string]*instance.Snapshot{}}
}

// get returns the snapshot of a node.
func (c *snapshots) get(id string) (*instance.Snapshot, error) {
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
func (c *snapshots) current(s *instance.Snapshot) bool {
	n, err := c.nodes.Get(s.Node.ID)
	return err == nil && n == s.Node
}

// drop lets go of a node's snapshot and returns it, nil if there was none.
func (c *snapshots) drop(id string) *instance.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byID[id]
	delete(c.byID, id)
	return s
}

// sweep drops the snapshots of nodes that are gone.
func (c *snapshots) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.byID {
		if !c.current(s) {
			delete(c.byID, id)
		}
	}
}

// held adds the nodes that instances stand at.
func (c *snapshots) held(ids map[string]bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for id, s := range c.byID {
		if s.Held() {
			ids[id] = true
		}
	}
}
