// Package quota holds owners to what they may have (access.Quota): functions, bytes of
// code and of snapshots when they deploy, instances at a time and machines' time when
// they invoke. An owner without a quota costs a look into a map. Snapshots of imports belong
// to nobody: a Ledger says in whose names they were made.
//
// Machines' time is counted while it passes, and that of the invocations that are there is
// set aside: an owner is let in while he has more left than these are expected to take.
// What they take beyond that is a debt, and he waits until it is worked off.
//
// Units: bytes; time in nanoseconds of one machine's.
//
// Locks: Book.mu, a leaf; Ledger.mu, below which are those of the lineage only.
package quota

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/sched"
)

// ErrExceeded: an owner would have more than his quota.
var ErrExceeded = errors.New("the owner's quota is exceeded")

// Use is what an owner has, or would have.
type Use struct {
	Functions int
	CodeBytes uint64
	NodeBytes uint64
}

// Check refuses what is more than a quota: the error says of what, and matches
// ErrExceeded.
func (u Use) Check(owner string, q access.Quota) error {
	over := func(what string, has, most any) error {
		return fmt.Errorf("%w: %s of owner %q would be %v, at most %v are allowed (seussctl owner set)", ErrExceeded, what, owner, has, most)
	}
	switch {
	case q.Functions > 0 && u.Functions > q.Functions:
		return over("functions", u.Functions, q.Functions)
	case q.CodeBytes > 0 && u.CodeBytes > q.CodeBytes:
		return over("bytes of code", u.CodeBytes, q.CodeBytes)
	case q.NodeBytes > 0 && u.NodeBytes > q.NodeBytes:
		return over("bytes of snapshots", u.NodeBytes, q.NodeBytes)
	}
	return nil
}

// window is over which machines' time is counted: an owner who has used none may use
// that of so long at once.
const window = time.Minute

// What an invocation is expected to take of a machine: the mean of its owner's last
// ones; usual where there was none; and never more than mostExpected, so that who may
// have n machines may have n invocations that take longer.
const (
	usual        = 100 * time.Millisecond
	mostExpected = window
)

// maxOwners is from how many owners on those are forgotten of whom nothing needs to be
// known. There are no more than owners with a quota (access.MaxOwners).
const maxOwners = 10_000

// maxRetry bounds after which time an owner is told to come again.
const maxRetry = time.Hour

// Book counts what runs.
type Book struct {
	limits func(owner string) access.Quota
	now    func() time.Time

	mu     sync.Mutex
	owners map[string]*account
	sweep  int // with so many owners some are forgotten
}

// account is what is known of an owner with a quota.
type account struct {
	instances int       // that were let in
	running   int       // of them those that have a machine
	machines  float64   // whose time he may have; 0: time is not counted
	left      float64   // of machines' time, ns; may be below 0
	mean      float64   // of what his invocations took, ns; 0: not known
	seen      time.Time // when left was brought up to date
}

// NewBook makes a book; limits says what an owner may have. nil: nobody is held to
// anything.
func NewBook(limits func(owner string) access.Quota) *Book {
	return &Book{limits: limits, now: time.Now, owners: map[string]*account{}, sweep: maxOwners}
}

// Stay is an invocation that was let in. nil is one of which nothing is counted. It
// belongs to one goroutine.
type Stay struct {
	b      *Book
	of     *account
	began  time.Time     // when it had a machine; zero: it had none
	took   time.Duration // before it was parked last
	parked bool          // it has none now
}

// Enter lets an invocation of an owner in, or refuses it: the error is a
// *sched.RefusedError. Leave is to be called when it has ended.
func (b *Book) Enter(owner string) (*Stay, error) {
	if b == nil || b.limits == nil {
		return nil, nil
	}
	q := b.limits(owner)
	if q.Instances == 0 && q.MachinePct == 0 {
		return nil, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(owner, q)
	if q.Instances > 0 && a.instances >= q.Instances {
		return nil, &sched.RefusedError{Reason: sched.OwnerInstances, RetryAfter: time.Second}
	}
	// Those that are there will take their time too: it is not given twice.
	if spoken := float64(a.instances) * a.expected(); a.machines > 0 && a.left <= spoken {
		wait := min((spoken-a.left)/a.machines, float64(maxRetry))
		return nil, &sched.RefusedError{Reason: sched.OwnerTime, RetryAfter: max(time.Second, time.Duration(wait))}
	}
	a.instances++
	return &Stay{b: b, of: a}, nil
}

// Instances is how many instances an owner may have at a time; 0: as many as there is room for.
func (b *Book) Instances(owner string) int {
	if b == nil || b.limits == nil {
		return 0
	}
	return b.limits(owner).Instances
}

// Begin says that the invocation has a machine, whose time is counted until Leave.
func (s *Stay) Begin() {
	if s == nil {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.began, s.parked = s.b.now(), false
	s.of.update(s.began)
	s.of.running++
}

// Pause says that it has no machine for a while, until Begin is called again: its time is
// not counted.
func (s *Stay) Pause() {
	if s == nil {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	now := s.b.now()
	s.of.update(now)
	s.of.running--
	s.took += now.Sub(s.began)
	s.parked = true
}

// Leave says that the invocation has ended. It may be called once.
func (s *Stay) Leave() {
	if s == nil {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	a, now := s.of, s.b.now()
	a.update(now)
	a.instances--
	if s.began.IsZero() {
		return
	}
	if !s.parked {
		a.running--
		s.took += now.Sub(s.began)
	}
	const weight = 1.0 / 8
	if took := max(float64(s.took), 1); a.mean == 0 {
		a.mean = took
	} else {
		a.mean += weight * (took - a.mean)
	}
}

// account brings what is known of an owner up to date. mu is held.
func (b *Book) account(owner string, q access.Quota) *account {
	now, machines := b.now(), float64(q.MachinePct)/100
	a := b.owners[owner]
	if a == nil {
		if len(b.owners) >= b.sweep {
			for name, other := range b.owners {
				if other.update(now); other.forgettable() {
					delete(b.owners, name)
				}
			}
			b.sweep = max(maxOwners, 2*len(b.owners)) // or each new one would look at all
		}
		a = &account{seen: now}
		b.owners[owner] = a
	}
	a.update(now)
	if a.machines == 0 {
		a.left = machines * float64(window) // his time has not been counted
	}
	a.machines = machines
	a.left = min(a.left, a.most())
	return a
}

// update counts the time since it was last called: what the owner may have of it is
// added, what his machines have taken is subtracted.
func (a *account) update(now time.Time) {
	past := max(0, float64(now.Sub(a.seen)))
	a.seen = now
	if a.machines > 0 {
		a.left = min(a.left+past*(a.machines-float64(a.running)), a.most())
	}
}

func (a *account) most() float64 { return a.machines * float64(window) }

// expected is what one more invocation is thought to take.
func (a *account) expected() float64 {
	if a.mean == 0 {
		return float64(usual)
	}
	return min(a.mean, float64(mostExpected))
}

// forgettable: a new one would say the same.
func (a *account) forgettable() bool { return a.instances == 0 && a.left >= a.most() }
