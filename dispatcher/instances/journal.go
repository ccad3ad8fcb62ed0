package instances

import (
	"sync"

	"seuss/dispatcher/instance"
)

// What an instance prints is kept for who asks later, and told to who listens.

// maxJournal bounds what is kept of an instance's output, bytes: the newest stays.
const maxJournal = 64 << 10

// journal is an instance's output. Its zero value is empty.
type journal struct {
	mu     sync.Mutex
	lines  []instance.LogLine
	bytes  int
	first  uint64        // number of lines[0]
	more   chan struct{} // closed when there is more; nil: nobody waits
	closed bool
}

var streams = [...]string{"kernel", "stdout", "stderr"}

// write takes what was printed.
func (j *journal) write(fd uint16, p []byte) {
	if len(p) == 0 {
		return
	}
	name := streams[0]
	if int(fd) < len(streams) {
		name = streams[fd]
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(p) > maxJournal {
		p = p[len(p)-maxJournal:]
	}
	j.lines = append(j.lines, instance.LogLine{Stream: name, Text: string(p)})
	j.bytes += len(p) + lineBytes
	for j.bytes > maxJournal && len(j.lines) > 1 {
		j.bytes -= len(j.lines[0].Text) + lineBytes
		j.lines = j.lines[1:]
		j.first++
	}
	j.tell()
}

// size is how much memory it takes, bytes.
func (j *journal) size() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(j.bytes)
}

// lineBytes is what a line takes beside its text.
const lineBytes = 64

// tell wakes who waits. mu is held.
func (j *journal) tell() {
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.tell()
}

// Logs returns what it has printed from a number on, the number to go on from, and a channel
// that is closed when there is more; nil: there will be no more.
func (i *Instance) Logs(from uint64) (lines []instance.LogLine, next uint64, more <-chan struct{}) {
	j := &i.logs
	j.mu.Lock()
	defer j.mu.Unlock()
	if from < j.first {
		from = j.first
	}
	if at := from - j.first; at < uint64(len(j.lines)) {
		lines = append(lines, j.lines[at:]...)
	}
	next = j.first + uint64(len(j.lines))
	if j.closed {
		return lines, next, nil
	}
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return lines, next, j.more
}
