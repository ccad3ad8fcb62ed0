package instance

import "fmt"

// The pages that an instance writes cost two faults each in a machine in which they are
// not private yet: of a small function's first 6 ms in a new machine that is
// the largest part. The first new machine at a snapshot tells which they are. Later ones
// have them private before the guest runs, which also lets KVM make entries for their
// neighbours (docs/decisions/boot.md, "Why are starts in a new machine so much slower than on a
// pooled one?").

// maxWritten bounds the pages that are made private ahead: 4 MiB. What writes more
// is not learned, since it may be one event's doing.
const maxWritten = 1024

// makeWritten makes the pages private that instances of s write, in a VM that was just
// made and shows s; or has them learned from the instance that comes.
func (vm *VM) makeWritten(s *Snapshot) error {
	if !vm.first {
		return nil
	}
	vm.first = false
	if !vm.m.Memory().SharesWindow() {
		return nil
	}
	written := s.written.Load()
	if written == nil {
		vm.learning = s
		return nil
	}
	if err := vm.m.Memory().Populate(written.Runs()); err != nil {
		return fmt.Errorf("populate pages that instances write: %w", err)
	}
	vm.plan.private.Union(written)
	return nil
}

// learnWritten takes what the VM's first instance has made private. collect must have
// been called since it ran.
func (vm *VM) learnWritten() {
	s := vm.learning
	vm.learning = nil
	if n := vm.plan.private.Len(); s != nil && n > 0 && n <= maxWritten {
		s.written.CompareAndSwap(nil, vm.plan.private.Clone())
	}
}
