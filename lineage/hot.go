package lineage

import (
	"container/list"
	"sync"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// hotSet bounds the memory, and the number, of nodes that were expanded from differences: the
// least recently loaded ones are unloaded first, unless they were used since. Pages that are mapped from files
// are the page cache's business and do not count.
type hotSet struct {
	mu    sync.Mutex // a leaf
	limit uint64     // of bytes
	most  int        // nodes
	bytes uint64
	order list.List // of *hotNode, the latest in front
	at    map[*Node]*list.Element
	// unloaded, if not nil, is told what was unloaded to make room, without the lock.
	unloaded func(*Node)
}

type hotNode struct {
	node  *Node
	bytes uint64
}

// add notes that n is loaded, and unloads others where that is too much.
func (h *hotSet) add(n *Node, blob *pages.Blob) {
	if !blob.Expanded() {
		return
	}
	dropped := h.insert(n, blob)
	if h.unloaded != nil {
		for _, n := range dropped {
			h.unloaded(n)
		}
	}
}

func (h *hotSet) insert(n *Node, blob *pages.Blob) (dropped []*Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == nil {
		h.at = map[*Node]*list.Element{}
	}
	if e := h.at[n]; e != nil {
		h.order.MoveToFront(e)
		return nil
	}
	h.at[n] = h.order.PushFront(&hotNode{n, blob.Pages() * nodefile.PageSize})
	h.bytes += blob.Pages() * nodefile.PageSize
	for spare := h.order.Len(); (h.bytes > h.limit || h.order.Len() > h.most) && h.order.Len() > 1; {
		e := h.order.Back()
		last := e.Value.(*hotNode).node
		if spare > 0 && last.recent.Swap(false) { // a second chance
			h.order.MoveAfter(e, h.order.Front()) // which is the one that just came
			spare--
			continue
		}
		h.drop(e)
		dropped = append(dropped, last)
	}
	return dropped
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
