package nodefile

// Buffers keeps a few buffers for use again. Unlike a sync.Pool it is not emptied by the
// garbage collector: a node that was not used for long is loaded after just that, and
// then making and clearing a buffer costs more than reading the node into it.
type Buffers chan *[]byte

// Get returns a buffer with any content and length.
func (b Buffers) Get() *[]byte {
	select {
	case buf := <-b:
		return buf
	default:
		return new([]byte)
	}
}

// Put gives a buffer back, of which nothing may be in use any more.
func (b Buffers) Put(buf *[]byte) {
	select {
	case b <- buf:
	default: // there are enough
	}
}

// KeptBuffers is how many are kept of each kind: so many nodes can be loaded at a time
// without new ones.
const KeptBuffers = 4
