package chain

import (
	"container/list"
	"fmt"
	"time"
)

// most is what one may have of what several have: three quarters, so that nobody takes what
// another one needs.
func most[T int | int64](of T) T { return of - of/4 }

// limit is what an owner may have.
func (c *Chains) limit(owner string) amount {
	if owner == c.o.Host {
		return amount{c.o.Calls, c.o.Bytes}
	}
	return amount{most(c.o.Calls), most(c.o.Bytes)}
}

// take takes room for calls of a caller's, and bytes of theirs: kept results give way, the
// oldest first, of those in whose way it is: the caller's, the owner's, or anybody's. mu is held.
func (c *Chains) take(caller *Caller, calls int, bytes int64) error {
	limit := c.limit(caller.who.Owner)
	for {
		own := c.owners[caller.who.Owner]
		if own == nil {
			own = &owner{}
			c.owners[caller.who.Owner] = own
		}
		var err error
		gives := &own.idle
		switch {
		case caller.bytes+bytes > most(limit.bytes):
			gives = &caller.idle
			err = fmt.Errorf("events and results that it has not awaited take %d bytes, %d more are wanted, %d is the most: await them: %w", caller.bytes, bytes, most(limit.bytes), ErrFull)
		case own.calls+calls > limit.calls:
			err = fmt.Errorf("the functions of its owner have %d calls open, which is the most: await them: %w", own.calls, ErrTooMany)
		case own.bytes+bytes > limit.bytes:
			err = fmt.Errorf("events and results of its owner's calls take %d bytes, %d more are wanted, %d is the most: await them: %w", own.bytes, bytes, limit.bytes, ErrFull)
		case c.taken.calls+calls > c.o.Calls:
			gives = &c.idle
			err = fmt.Errorf("%d calls are open, which is the most: try again later: %w", c.taken.calls, ErrTooMany)
		case c.taken.bytes+bytes > c.o.Bytes:
			gives = &c.idle
			err = fmt.Errorf("events and results of calls take %d bytes, %d more are wanted, %d is the most: try again later: %w", c.taken.bytes, bytes, c.o.Bytes, ErrFull)
		default:
			caller.bytes += bytes
			own.calls, own.bytes = own.calls+calls, own.bytes+bytes
			c.taken.calls, c.taken.bytes = c.taken.calls+calls, c.taken.bytes+bytes
			return nil
		}
		oldest := gives.Front()
		if oldest == nil {
			c.tidy(caller.who.Owner)
			return err
		}
		c.unkeep(oldest.Value.(*call))
	}
}

// give gives it back. mu is held.
func (c *Chains) give(caller *Caller, calls int, bytes int64) {
	owner := caller.who.Owner
	own := c.owners[owner]
	caller.bytes -= bytes
	own.calls, own.bytes = own.calls-calls, own.bytes-bytes
	c.taken.calls, c.taken.bytes = c.taken.calls-calls, c.taken.bytes-bytes
	c.tidy(owner)
}

// tidy forgets an owner who has nothing. mu is held.
func (c *Chains) tidy(owner string) {
	if own := c.owners[owner]; own != nil && own.amount == (amount{}) {
		delete(c.owners, owner)
	}
}

// idlers are the lists that a kept result is in while no caller has it: it may give way then.
type idlers [3]struct {
	list *list.List
	at   *list.Element
}

// idles puts a kept result into its lists. mu is held.
func (k *call) idles() {
	for i, l := range [...]*list.List{&k.payer.idle, &k.c.owners[k.payer.who.Owner].idle, &k.c.idle} {
		k.idle[i].list, k.idle[i].at = l, l.PushBack(k)
	}
}

// wanted takes it out of them. mu is held.
func (k *call) wanted() {
	for i := range k.idle {
		if in := &k.idle[i]; in.at != nil {
			in.list.Remove(in.at)
			in.list, in.at = nil, nil
		}
	}
}

// expire forgets what was kept for long enough: a few, since each who calls does it. mu is held.
func (c *Chains) expire(now time.Time) {
	for range slice {
		e := c.kept.Front()
		if e == nil || now.Sub(e.Value.(*call).ended) < c.o.Keep {
			return
		}
		c.unkeep(e.Value.(*call))
	}
}

// unkeep keeps a result no longer for its key. mu is held.
func (c *Chains) unkeep(k *call) {
	if k.keeping != nil {
		c.kept.Remove(k.keeping)
		k.keeping = nil
		k.wanted()
	}
	if k.key != "" && c.keys[k.key] == k {
		delete(c.keys, k.key)
	}
	k.settle()
}
