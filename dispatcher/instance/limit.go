package instance

import (
	"bytes"
	"fmt"
	"time"

	"seuss/guest"
)

// memoryLook is how often the memory of a running instance with a limit is
// looked at. A guest takes 50 MiB in that time if it does nothing else.
const memoryLook = 50 * time.Millisecond

// nextLook is when the run has to pause: at its deadline, or before that to look
// at the memory.
func (i *Instance) nextLook(deadline time.Time) time.Time {
	if i.MemoryPages == 0 {
		return deadline
	}
	if look := time.Now().Add(memoryLook); deadline.IsZero() || look.Before(deadline) {
		return look
	}
	return deadline
}

// checkMemory ends an instance that has written more pages than it may. The
// machine's private pages bound them from above; some may be left of earlier
// instances, so they are compared before anybody is accused.
func (i *Instance) checkMemory() error {
	if err := i.vm.collect(); err != nil {
		return err
	}
	i.Progress.Changed(i.vm.plan.private.Len())
	if i.vm.plan.private.Len() <= i.MemoryPages {
		return nil
	}
	if n := i.vm.plan.differing(); n > i.MemoryPages {
		return fmt.Errorf("%w: %d pages written, %d allowed", ErrMemory, n, i.MemoryPages)
	}
	return nil
}

// differing counts the private pages that are not what the view shows.
func (p *memoryPlan) differing() (n uint64) {
	ram := p.mem.Bytes()
	for page := range p.private.All() {
		want := guest.ZeroPage[:]
		if p.view != nil {
			if src := p.view.Bytes(page); src != nil {
				want = src
			}
		}
		if !bytes.Equal(pageOf(ram, page), want) {
			n++
		}
	}
	return n
}
