package dispatcher

import (
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/outbound"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// shell is a machine that invocations run in, one after the other, each in a
// fresh instance: between two of them memory, registers and devices are put
// back to a node.
type shell struct {
	image     *image
	m         *vmm.Machine
	layout    layout
	at        *target // the node it stands ready on; nil: it has run
	last      *target // the node it was at before it ran
	link      link
	logs      logBuffer
	paged     uint64  // pages that were paged in, as of the last invocation
	recording *target // the node whose loading set its first run gives
	fresh     bool    // nothing has run in it
	learning  *target // the node whose written pages its first run gives
	faults    uint64  // host page faults whose pages are accounted for
	before    uint64  // the same when the instance began
	ran       bool    // an instance has run that is not in the counts yet
	counts    *counters
	onReset   func(Reset) // whoever ran last wants to know; nil: nobody

	outbound *outbound.Instance // the way out of the invocation that runs; nil: none runs

	memoryPages uint64 // that may be written while it runs; 0: no limit

	// Of a shell in the pool, guarded by its lock.
	freed     time.Time // when it was put back
	footprint uint64    // bytes of its private pages then
}

// newShell makes a machine whose memory shows view. It is not ready to run.
func (d *Dispatcher) newShell(img *image, view *lineage.View) (*shell, error) {
	s := &shell{image: img, counts: &d.events, fresh: true}
	m, err := vmm.NewMachine(d.platform, vmm.Config{
		RAMBytes: img.config.MemoryBytes, ImageBytes: img.imageBytes,
		Console: s.logs.write, ConsoleLimit: maxLogBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("machine for image %q: %w", img.name, err)
	}
	s.m = m
	if err := m.Vsock().Listen(guest.NetPort, s.leaves); err != nil {
		m.Close()
		return nil, fmt.Errorf("machine for image %q: %w", img.name, err)
	}
	if err := s.prepare(view); err != nil {
		m.Close()
		return nil, fmt.Errorf("machine for image %q: %w", img.name, err)
	}
	return s, nil
}

var errNoInvocation = errors.New("there is no way out outside invocations")

// leaves takes a stream that wants to leave the machine.
func (s *shell) leaves(c *vmm.Conn) error {
	if s.outbound == nil { // what is captured before a function runs comes from the machine alone
		return errNoInvocation
	}
	return s.outbound.Accept(c)
}

func (s *shell) prepare(view *lineage.View) error {
	l, err := newLayout(s.m.Memory())
	if err != nil {
		return err
	}
	s.layout = l
	return s.layout.mapAll(view)
}

// bring puts the shell at a node: memory, registers, devices. It is then a
// fresh instance but for its identity page, which the request writes.
func (s *shell) bring(t *target) (moved, error) {
	s.at = nil
	if err := s.m.Settle(); err != nil {
		return moved{}, err
	}
	if err := s.collect(); err != nil {
		return moved{}, err
	}
	s.account()
	m, err := s.layout.deploy(t.view)
	if err != nil {
		return m, fmt.Errorf("deploy node %.12s: %w", t.node.Info.ID, err)
	}
	if err := s.makeWritten(t); err != nil {
		return m, fmt.Errorf("deploy node %.12s: %w", t.node.Info.ID, err)
	}
	if err := s.m.Restore(t.state); err != nil {
		return m, fmt.Errorf("restore node %.12s: %w", t.node.Info.ID, err)
	}
	if err := s.link.attach(s.m); err != nil {
		return m, fmt.Errorf("restore node %.12s: %w", t.node.Info.ID, err)
	}
	s.logs.reset()
	s.m.ResetConsole()
	s.at, s.last = t, t
	return m, nil
}

// account adds what the last instance did to the counts. collect must have been
// called since.
func (s *shell) account() {
	if s.ran {
		s.ran = false
		s.learnWritten()
		s.counts.faults.Add(s.faults - s.before)
		s.counts.dirtied.Add(s.layout.private.Len())
	}
}

// collect notes the pages that became private since the last call.
func (s *shell) collect() error {
	now := s.m.HostFaults()
	faulted := now != s.faults
	s.faults = now
	return s.layout.collect(faulted)
}

func (s *shell) close() error {
	err := s.layout.tracker.Close()
	if merr := s.m.Close(); merr != nil {
		err = merr
	}
	return err
}

// logBuffer keeps an invocation's console output.
type logBuffer struct {
	lines  []LogLine // finished: another stream was written to after them
	stream string    // of what is being written
	text   []byte    // grows; a string would be copied for each of its bytes
}

var streamNames = [...]string{"kernel", "stdout", "stderr"}

func (b *logBuffer) write(fd uint16, p []byte) {
	if len(p) == 0 {
		return
	}
	name := "kernel"
	if int(fd) < len(streamNames) {
		name = streamNames[fd]
	}
	if name != b.stream {
		b.finish()
		b.stream = name
	}
	b.text = append(b.text, p...)
}

func (b *logBuffer) finish() {
	if len(b.text) > 0 {
		b.lines = append(b.lines, LogLine{Stream: b.stream, Text: string(b.text)})
		b.text = b.text[:0]
	}
}

func (b *logBuffer) reset() { b.lines, b.text = nil, b.text[:0] }

func (b *logBuffer) take() []LogLine {
	b.finish()
	lines := b.lines
	b.lines = nil
	return lines
}
