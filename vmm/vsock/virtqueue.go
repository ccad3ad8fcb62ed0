package vsock

import (
	"fmt"

	"seuss/guest"
)

// Split virtqueues, Virtual I/O Device (VIRTIO) Version 1.2, section 2.7. The
// driver's side, in guest memory, is hostile: every index, address, length and
// link is checked, and what breaks the rules is a RingError.

const (
	queueMax = 256 // entries of a queue: QueueNumMax

	// maxChainBytes bounds the buffers of a chain together, before any is looked at:
	// to look at memory can cost the host time and memory. Drivers offer room for the
	// largest packet, and some a whole number of pages.
	maxChainBytes = 2 * maxPayload
)

// RingError means that the guest broke the rules of a virtqueue, or that its memory could
// not be looked at: then it wraps why.
type RingError struct {
	queue int
	what  error
}

func (e *RingError) Error() string {
	return fmt.Sprintf("vsock queue %d: the driver broke the ring: %v", e.queue, e.what)
}

// Unwrap returns what is wrong.
func (e *RingError) Unwrap() error { return e.what }

// QueueState is a queue's registers and positions.
type QueueState struct {
	Size      uint16
	Ready     bool
	Desc      guest.GPA
	Avail     guest.GPA
	Used      guest.GPA
	NextAvail uint16
	NextUsed  uint16
}

// virtqueue is the device's side of a split virtqueue.
type virtqueue struct {
	QueueState
	mem   Memory
	index int

	// Windows into guest memory while the queue is ready.
	desc, avail, used []byte
}

// segment is one buffer of a descriptor chain.
type segment struct {
	gpa   guest.GPA
	buf   []byte
	write bool // the device may write it, and not read it
}

func (q *virtqueue) broken(format string, args ...any) error {
	return &RingError{queue: q.index, what: fmt.Errorf(format, args...)}
}

// open validates the registers and maps the rings.
func (q *virtqueue) open() error {
	if q.Size == 0 || q.Size > queueMax || q.Size&(q.Size-1) != 0 {
		return q.broken("size %d is not a power of two up to %d", q.Size, queueMax)
	}
	if q.Desc%descAlign != 0 || q.Avail%availAlign != 0 || q.Used%usedAlign != 0 {
		return q.broken("rings at %#x, %#x, %#x are not aligned", uint64(q.Desc), uint64(q.Avail), uint64(q.Used))
	}
	var err error
	size := uint64(q.Size)
	if q.desc, err = q.mem.Slice(q.Desc, size*descBytes); err != nil {
		return q.broken("descriptor table: %w", err)
	}
	if q.avail, err = q.mem.Slice(q.Avail, ringHeader+size*2); err != nil {
		return q.broken("available ring: %w", err)
	}
	if q.used, err = q.mem.Slice(q.Used, ringHeader+size*usedElemBytes); err != nil {
		return q.broken("used ring: %w", err)
	}
	q.Ready = true
	return nil
}

// reset forgets everything but where the queue belongs.
func (q *virtqueue) reset() { *q = virtqueue{mem: q.mem, index: q.index} }

// available returns how many chains the driver has offered.
func (q *virtqueue) available() (uint16, error) {
	if !q.Ready {
		return 0, nil
	}
	// The guest does not run now, so a plain load sees all it stored.
	n := le.Uint16(q.avail[ringIdx:]) - q.NextAvail
	if n > q.Size {
		return 0, q.broken("available index runs %d ahead of a queue of %d", n, q.Size)
	}
	return n, nil
}

// pop takes the next chain and appends its segments to chain. The caller has
// checked that one is available.
func (q *virtqueue) pop(chain []segment) (head uint16, _ []segment, err error) {
	head = le.Uint16(q.avail[ringHeader+2*uint64(q.NextAvail%q.Size):])
	i, total := head, uint64(0)
	for n := uint16(0); ; n++ {
		if i >= q.Size {
			return 0, nil, q.broken("descriptor %d of %d", i, q.Size)
		}
		if n == q.Size {
			return 0, nil, q.broken("the chain of descriptor %d loops", head)
		}
		d := q.desc[uint64(i)*descBytes:]
		gpa, length, flags := guest.GPA(le.Uint64(d)), le.Uint32(d[8:]), le.Uint16(d[12:])
		if flags&descIndirect != 0 {
			return 0, nil, q.broken("descriptor %d is indirect, which was not offered", i)
		}
		if total += uint64(length); total > maxChainBytes {
			return 0, nil, q.broken("the chain of descriptor %d has more than %d bytes", head, maxChainBytes)
		}
		buf, err := q.mem.Slice(gpa, uint64(length))
		if err != nil {
			return 0, nil, q.broken("descriptor %d: %w", i, err)
		}
		chain = append(chain, segment{gpa: gpa, buf: buf, write: flags&descWrite != 0})
		if flags&descNext == 0 {
			break
		}
		i = le.Uint16(d[14:])
	}
	q.NextAvail++
	return head, chain, nil
}

// push returns a chain to the driver, n bytes of which were written.
func (q *virtqueue) push(head uint16, n uint32) {
	elem := ringHeader + usedElemBytes*uint64(q.NextUsed%q.Size)
	le.PutUint32(q.used[elem:], uint32(head))
	le.PutUint32(q.used[elem+4:], n)
	q.mem.MarkWritten(q.Used+guest.GPA(elem), usedElemBytes)
	q.NextUsed++
	// No barrier: the guest does not run now, and entering it is one.
	le.PutUint16(q.used[ringIdx:], q.NextUsed)
	q.mem.MarkWritten(q.Used, ringHeader)
}

// wantsInterrupt reports whether the driver asked to be told of used buffers.
func (q *virtqueue) wantsInterrupt() bool { return le.Uint16(q.avail)&noInterrupt == 0 }

// copyFrom copies len(p) bytes from offset off of a chain into p and returns
// how many there were.
func copyFrom(chain []segment, off int, p []byte) int {
	done := 0
	for _, s := range chain {
		if off >= len(s.buf) {
			off -= len(s.buf)
			continue
		}
		done += copy(p[done:], s.buf[off:])
		off = 0
		if done == len(p) {
			break
		}
	}
	return done
}

// chainBytes returns the sum of a chain's lengths, at most maxChainBytes.
func chainBytes(chain []segment) int {
	n := 0
	for _, s := range chain {
		n += len(s.buf)
	}
	return n
}
