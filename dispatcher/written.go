package dispatcher

import "fmt"

// The pages that an instance writes cost two faults each in a machine in which they are
// not private yet: of a small Python function's first 6 ms in a new machine that is
// the largest part. The first new machine at a node tells which they are. Later ones
// have them private before the guest runs, which also lets KVM make entries for their
// neighbours (docs/decisions/boot.md, "Why are starts in a new machine so much slower than on a
// pooled one?").

// maxWritten bounds the pages that are made private ahead: 4 MiB. What writes more
// is not learned, since it may be one event's doing.
const maxWritten = 1024

// makeWritten makes the pages private that instances of t write, in a machine that was
// just made and shows t; or has them learned from the instance that comes.
func (s *shell) makeWritten(t *target) error {
	if !s.fresh {
		return nil
	}
	s.fresh = false
	if !s.m.Memory().SharesWindow() || s.layout.base != t.view {
		return nil
	}
	written := t.written.Load()
	if written == nil {
		s.learning = t
		return nil
	}
	if err := s.m.Memory().Populate(written.Runs()); err != nil {
		return fmt.Errorf("populate pages that instances write: %w", err)
	}
	s.layout.private.Union(written)
	return nil
}

// learnWritten takes what the machine's first instance has made private. collect must
// have been called since it ran.
func (s *shell) learnWritten() {
	t := s.learning
	s.learning = nil
	if n := s.layout.private.Len(); t != nil && n > 0 && n <= maxWritten {
		t.written.CompareAndSwap(nil, s.layout.private.Clone())
	}
}
