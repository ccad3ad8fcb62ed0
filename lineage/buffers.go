package lineage

// buffers keeps a few buffers for use again. Unlike a sync.Pool it is not emptied by the
// garbage collector: a node that was not used for long is loaded after just that, and
// then making and clearing a buffer costs more than reading the node into it.
type buffers chan *[]byte

// get returns a buffer with any content and length.
func (b buffers) get() *[]byte {
	select {
	case buf := <-b:
		return buf
	default:
		return new([]byte)
	}
}

// put gives a buffer back, of which nothing may be in use any more.
func (b buffers) put(buf *[]byte) {
	select {
	case b <- buf:
	default: // there are enough
	}
}

// keptBuffers is how many are kept of each kind: so many nodes can be loaded at a time
// without new ones.
const keptBuffers = 4
