package vmm

import (
	"seuss/guest"
)

// ConsoleFunc receives what the guest wrote to a file descriptor: 1 and 2 are
// the program's, 0 is the kernel library's own. p is valid during the call.
// It is called by the goroutine inside Run and must not call the machine.
type ConsoleFunc func(fd uint16, p []byte)

// DefaultConsoleLimit is how many bytes of output an invocation may produce
// before the rest is dropped.
const DefaultConsoleLimit = 1 << 20

// consoleTailBytes is how much of the last output is kept for a crash report.
const consoleTailBytes = 4096

// console drains the guest's output ring. Everything in it is hostile.
type console struct {
	mem      *Memory
	fn       ConsoleFunc
	limit    int
	taken    uint64 // position of the host, mirrored to control.console_tail
	used     int    // bytes passed on since the last reset of the budget
	dropped  uint64 // bytes not passed on: over the limit or from a broken ring
	buf      []byte // one record
	last     [consoleTailBytes]byte
	lastNext uint64 // bytes ever kept in last
}

// reset starts a new invocation's budget.
func (c *console) reset() { c.used, c.dropped, c.lastNext = 0, 0, 0 }

// pending reports whether the guest has output to be taken.
func (c *console) pending(control []byte) bool {
	return le64(control[guest.ControlConsoleHead:]) != c.taken
}

// drain takes all records. A ring whose head runs ahead of its size, or whose
// address is not in memory, is emptied and what it held is counted as dropped.
func (c *console) drain(control []byte) {
	head := le64(control[guest.ControlConsoleHead:])
	n := head - c.taken
	if n == 0 {
		return
	}
	ring, err := c.mem.Slice(GPA(le64(control[guest.ControlConsoleGPA:])), guest.ConsoleBytes)
	if err != nil || n > guest.ConsoleBytes {
		c.dropped += min(n, guest.ConsoleBytes)
	} else {
		c.records(ring, head)
	}
	c.taken = head
	put64(control[guest.ControlConsoleTail:], head)
	c.mem.MarkWritten(guest.ControlGPA+guest.ControlConsoleTail, 8)
}

func (c *console) records(ring []byte, head uint64) {
	if c.buf == nil {
		c.buf = make([]byte, guest.ConsoleBytes)
	}
	var hdr [guest.ConsoleRecordSize]byte
	for at := c.taken; at != head; {
		left := head - at
		if left < guest.ConsoleRecordSize {
			c.dropped += left
			return
		}
		copyRing(hdr[:], ring, at)
		fd, n := le16(hdr[guest.ConsoleRecordFD:]), uint64(le16(hdr[guest.ConsoleRecordLen:]))
		at, left = at+guest.ConsoleRecordSize, left-guest.ConsoleRecordSize
		if n > left {
			c.dropped += left
			return
		}
		p := c.buf[:n]
		copyRing(p, ring, at)
		at += n
		c.pass(fd, p)
	}
}

// copyRing copies len(p) bytes at ring position at, wrapping.
func copyRing(p, ring []byte, at uint64) {
	n := copy(p, ring[at%uint64(len(ring)):])
	copy(p[n:], ring)
}

// pass hands a record on, within the budget.
func (c *console) pass(fd uint16, p []byte) {
	for _, b := range p {
		c.last[c.lastNext%consoleTailBytes] = b
		c.lastNext++
	}
	if room := c.limit - c.used; len(p) > room {
		c.dropped += uint64(len(p) - room)
		p = p[:room]
	}
	c.used += len(p)
	if c.fn != nil && len(p) > 0 {
		c.fn(fd, p)
	}
}

// tail returns the last output, at most consoleTailBytes.
func (c *console) tail() []byte {
	n := min(c.lastNext, consoleTailBytes)
	out := make([]byte, 0, n)
	for i := c.lastNext - n; i != c.lastNext; i++ {
		out = append(out, c.last[i%consoleTailBytes])
	}
	return out
}
