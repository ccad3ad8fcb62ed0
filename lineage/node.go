package lineage

import (
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// Node is one snapshot of the tree.
type Node struct {
	nodefile.Info

	hits      atomic.Uint64
	savedHits atomic.Uint64              // what the hits file says
	used      atomic.Int64               // when a flush last found new hits, Unix seconds; 0: never
	recent    atomic.Bool                // used since the hot set last looked
	file      atomic.Pointer[storedFile] // replaced as a whole

	mu     sync.Mutex // serialises loading
	loaded atomic.Pointer[loadedNode]
	blob   weak.Pointer[pages.Blob] // of all pages; guarded by mu; survives an Unload while Views use it
}

// loadedNode is a node's memory and machine state.
type loadedNode struct {
	view   *pages.View
	state  []byte
	blob   *pages.Blob   // all pages, or with donors those in its own file
	donors []*pages.Blob // in the order of the node's donors
}

// Loaded reports whether the node's memory is resolved.
func (n *Node) Loaded() bool { return n.loaded.Load() != nil }

// View returns the node's memory, nil unless Store.Load succeeded and no Unload
// followed. A View once returned stays valid.
func (n *Node) View() *pages.View {
	if l := n.loaded.Load(); l != nil {
		return l.view
	}
	return nil
}

// State returns the machine state given at capture, nil under the conditions of
// View. Do not modify it.
func (n *Node) State() []byte {
	if l := n.loaded.Load(); l != nil {
		return l.state
	}
	return nil
}

// Blob returns what holds the pages of the node's own file, nil under the conditions
// of View.
func (n *Node) Blob() *pages.Blob {
	if l := n.loaded.Load(); l != nil {
		return l.blob
	}
	return nil
}

// Hit counts one use of the node and returns the new count. The count reaches
// the disk with Store.FlushHits.
func (n *Node) Hit() uint64 {
	if !n.recent.Load() {
		n.recent.Store(true)
	}
	return n.hits.Add(1)
}

// Hits returns the number of uses, including those of earlier processes.
func (n *Node) Hits() uint64 { return n.hits.Load() }

// LastUsed returns when the node was last used, to the accuracy of FlushHits, or
// its creation if it never was.
func (n *Node) LastUsed() time.Time {
	if used := n.used.Load(); used != 0 {
		return time.Unix(used, 0).UTC()
	}
	return n.Created
}

// StoredBytes returns the size of the node's file. That of an image node does not
// hold the image, and that of a node with donors not the pages that lie in files of
// its siblings: see Store.DiskBytes.
func (n *Node) StoredBytes() uint64 { return n.stored().bytes }

// noFile is what a Node has that no Store made.
var noFile storedFile

func (n *Node) stored() *storedFile {
	if f := n.file.Load(); f != nil {
		return f
	}
	return &noFile
}
