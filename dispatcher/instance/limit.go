package dispatcher

import (
	"bytes"
	"fmt"
	"time"

	"seuss/lineage"
)

// memoryLook is how often the memory of a running instance with a limit is
// looked at. A guest takes 50 MiB in that time if it does nothing else.
const memoryLook = 50 * time.Millisecond

// memoryLimit is how many pages an invocation from t may have written, so that
// with what its function's nodes hold it stays within the function's memory; 0:
// its guest's memory is limit enough.
func (i *invocation) memoryLimit(t *target) uint64 {
	limit := uint64(i.f.spec.Settings.MemoryMiB) << 20
	if limit == 0 || limit >= i.f.image.config.MemoryBytes {
		return 0
	}
	pages := limit / lineage.PageSize
	return max(pages-min(pages, t.pages), 1)
}

// nextLook is when the run has to pause: at its deadline, or before that to look
// at the memory.
func (s *shell) nextLook(deadline time.Time) time.Time {
	if s.memoryPages == 0 {
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
func (s *shell) checkMemory() error {
	if err := s.collect(); err != nil {
		return err
	}
	if s.layout.private.Len() <= s.memoryPages {
		return nil
	}
	if n := s.layout.differing(); n > s.memoryPages {
		return fmt.Errorf("%w: %d pages written, %d allowed", ErrMemory, n, s.memoryPages)
	}
	return nil
}

// differing counts the private pages that are not what the target shows.
func (l *layout) differing() (n uint64) {
	ram := l.mem.Bytes()
	for page := range l.private.All() {
		want := zeroPage[:]
		if l.target != nil {
			if src := l.target.Bytes(page); src != nil {
				want = src
			}
		}
		if !bytes.Equal(pageOf(ram, page), want) {
			n++
		}
	}
	return n
}
