package lineage

import "seuss/lineage/changes"

// Changes tells caches of what is stored that it has changed: see package changes for
// how to ask. What is told is what this Store does; nothing is told of what another
// process writes beside a Store that is read-only.
type Changes struct {
	// Functions has a change under a function's name when a node whose key names the
	// function is stored or removed.
	Functions changes.Feed
	// Nodes has a change under a node's id when the node is stored or removed, or a node
	// below it is. What a node is never changes.
	Nodes changes.Feed
	// Images has a change under an image's digest when a node of it is stored or removed.
	Images changes.Feed
	// Marks has a change under a node's id when what people say of it changes.
	Marks changes.Feed
}

// Changes returns the feeds of this Store. They take 128 KiB, and asking them takes no
// lock.
func (s *Store) Changes() *Changes { return &s.changes }

// told says that a node was stored or removed, when the catalogue shows it.
func (c *Changes) told(n *Node) {
	if n.Key.Function != "" {
		c.Functions.Changed(n.Key.Function)
	}
	c.Nodes.Changed(n.ID)
	if n.Parent != "" {
		c.Nodes.Changed(n.Parent)
	}
	c.Images.Changed(n.ImageDigest)
}
