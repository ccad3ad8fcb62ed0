package lineage

import (
	"container/list"
	"sync"
)

// hotSet bounds the memory of nodes that were expanded from differences: the
// least recently loaded ones are unloaded first. Pages that are mapped from files
// are the page cache's business and do not count.
type hotSet struct {
	mu    sync.Mutex // a leaf
	limit uint64
	bytes uint64
	order list.List // of *hotNode, the latest in front
	at    map[*Node]*list.Element
}

type hotNode struct {
	node  *Node
	bytes uint64
}

// add notes that n is loaded, and unloads others where that is too much.
func (h *hotSet) add(n *Node, blob *Blob) {
	if blob.slab == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == nil {
		h.at = map[*Node]*list.Element{}
	}
	if e := h.at[n]; e != nil {
		h.order.MoveToFront(e)
		return
	}
	h.at[n] = h.order.PushFront(&hotNode{n, blob.pages * PageSize})
	h.bytes += blob.pages * PageSize
	for h.bytes > h.limit && h.order.Len() > 1 {
		h.drop(h.order.Back())
	}
}

func (h *hotSet) drop(e *list.Element) {
	hot := h.order.Remove(e).(*hotNode)
	h.bytes -= hot.bytes
	delete(h.at, hot.node)
	hot.node.loaded.Store(nil)
}

// remove unloads n.
func (h *hotSet) remove(n *Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.at[n]; e != nil {
		h.drop(e)
	}
	n.loaded.Store(nil)
}

// forget leaves n loaded for those who hold it, and counts it no longer.
func (h *hotSet) forget(n *Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.at[n]; e != nil {
		h.bytes -= h.order.Remove(e).(*hotNode).bytes
		delete(h.at, n)
	}
}
