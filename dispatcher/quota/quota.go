// Package quota holds owners to what they may have (access.Quota): functions, bytes of
// code and of snapshots when they deploy, instances at a time and machines' time when
// they invoke. An owner without a quota costs a look into a map.
//
// Units: bytes; machines' time in hundredths of one machine's.
//
// Locks: Book.mu, a leaf.
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

// maxOwners bounds what is remembered of owners of whom nothing runs.
const maxOwners = 10_000

// Book counts what runs.
type Book struct {
	limits func(owner string) access.Quota
	now    func() time.Time

	mu     sync.Mutex
	owners map[string]*account
}

// account is what is known of an owner with a quota.
type account struct {
	instances int
	left      time.Duration // of machines' time; may be below 0
	seen      time.Time     // when left was brought up to date
}

// NewBook makes a book; limits says what an owner may have. nil: nobody is held to
// anything.
func NewBook(limits func(owner string) access.Quota) *Book {
	return &Book{limits: limits, now: time.Now, owners: map[string]*account{}}
}

// Enter lets an invocation of an owner in, or refuses it: the error is a
// *sched.RefusedError. leave is to be called when it has ended, with the machine's time
// that it took; it is nil where nothing is counted.
func (b *Book) Enter(owner string) (leave func(took time.Duration), err error) {
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
	switch {
	case q.Instances > 0 && a.instances >= q.Instances:
		return nil, &sched.RefusedError{Reason: sched.OwnerInstances, RetryAfter: time.Second}
	case q.MachinePct > 0 && a.left <= 0:
		return nil, &sched.RefusedError{Reason: sched.OwnerTime, RetryAfter: max(time.Second, -a.left*100/time.Duration(q.MachinePct))}
	}
	a.instances++
	return func(took time.Duration) {
		b.mu.Lock()
		defer b.mu.Unlock()
		a.instances--
		a.left -= took
	}, nil
}

// account brings what is known of an owner up to date. mu is held.
func (b *Book) account(owner string, q access.Quota) *account {
	now, most := b.now(), window*time.Duration(q.MachinePct)/100
	a := b.owners[owner]
	if a == nil {
		if len(b.owners) >= maxOwners {
			for name, other := range b.owners {
				if other.instances == 0 && now.Sub(other.seen) > window {
					delete(b.owners, name)
				}
			}
		}
		a = &account{left: most, seen: now}
		b.owners[owner] = a
	}
	a.left = min(most, a.left+max(0, now.Sub(a.seen))*time.Duration(q.MachinePct)/100)
	a.seen = now
	return a
}
