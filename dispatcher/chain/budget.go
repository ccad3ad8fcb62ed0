package chain

import (
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
	owner := caller.who.Owner
	limit := c.limit(owner)
	for {
		own := c.owners[owner]
		if own == nil {
			own = &amount{}
			c.owners[owner] = own
		}
		var err error
		gives := func(k *call) bool { return k.payer.who.Owner == owner }
		switch {
		case caller.bytes+bytes > most(limit.bytes):
			gives = func(k *call) bool { return k.payer == caller }
			err = fmt.Errorf("events and results that it has not awaited take %d bytes, %d more are wanted, %d is the most: await them: %w", caller.bytes, bytes, most(limit.bytes), ErrFull)
		case own.calls+calls > limit.calls:
			err = fmt.Errorf("the functions of its owner have %d calls open, which is the most: await them: %w", own.calls, ErrTooMany)
		case own.bytes+bytes > limit.bytes:
			err = fmt.Errorf("events and results of its owner's calls take %d bytes, %d more are wanted, %d is the most: await them: %w", own.bytes, bytes, limit.bytes, ErrFull)
		case c.taken.calls+calls > c.o.Calls:
			gives = anybody
			err = fmt.Errorf("%d calls are open, which is the most: try again later: %w", c.taken.calls, ErrTooMany)
		case c.taken.bytes+bytes > c.o.Bytes:
			gives = anybody
			err = fmt.Errorf("events and results of calls take %d bytes, %d more are wanted, %d is the most: try again later: %w", c.taken.bytes, bytes, c.o.Bytes, ErrFull)
		default:
			caller.bytes += bytes
			own.calls, own.bytes = own.calls+calls, own.bytes+bytes
			c.taken.calls, c.taken.bytes = c.taken.calls+calls, c.taken.bytes+bytes
			return nil
		}
		if !c.forget(gives) {
			c.tidy(owner)
			return err
		}
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
	if own := c.owners[owner]; own != nil && *own == (amount{}) {
		delete(c.owners, owner)
	}
}

func anybody(*call) bool { return true }

// forget forgets the oldest kept result of those that may give way, and that no caller waits
// for. mu is held.
func (c *Chains) forget(gives func(k *call) bool) bool {
	for e := c.kept.Front(); e != nil; e = e.Next() {
		if k := e.Value.(*call); len(k.callers) == 0 && gives(k) {
			c.unkeep(k)
			return true
		}
	}
	return false
}

// expire forgets what was kept for long enough. mu is held.
func (c *Chains) expire(now time.Time) {
	for e := c.kept.Front(); e != nil; e = c.kept.Front() {
		k := e.Value.(*call)
		if now.Sub(k.ended) < c.o.Keep {
			return
		}
		c.unkeep(k)
	}
}

// unkeep keeps a result no longer for its key. mu is held.
func (c *Chains) unkeep(k *call) {
	if k.keeping != nil {
		c.kept.Remove(k.keeping)
		k.keeping = nil
	}
	if k.key != "" && c.keys[k.key] == k {
		delete(c.keys, k.key)
	}
	k.settle()
}
