package state

import (
	"fmt"
	"sync"
)

// Of what all have, one owner may have three quarters, unless the host is his, and of that
// one function three quarters: nobody takes what another one needs.
func most(of int64) int64 { return of - of/4 }

// budget bounds what values take.
type budget struct {
	all  int64
	host string // the owner who may have all of it

	mu        sync.Mutex
	taken     int64
	owners    map[string]int64
	functions map[string]int64 // by owner, a zero byte, and name
}

func newBudget(all int64, host string) *budget {
	return &budget{all: all, host: host, owners: map[string]int64{}, functions: map[string]int64{}}
}

// of is what an owner may have.
func (b *budget) of(owner string) int64 { return OwnerMost(b.all, b.host, owner) }

// OwnerMost is what an owner may have of what all have; host is he whose the host is.
func OwnerMost(all int64, host, owner string) int64 {
	if owner == host {
		return all
	}
	return most(all)
}

// move takes less of one function's, before, and more of another's, after: a value that one
// has written the other has written anew. function "": somebody's who is none.
func (b *budget) move(owner, from string, before int64, to string, after int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	more := after - before
	own := after
	if from == to {
		own = more
	}
	name := owner + "\x00" + to
	if more > 0 || own > 0 && from != to {
		switch limit := b.of(owner); {
		case b.taken+more > b.all:
			return fmt.Errorf("all state takes %d bytes, %d more are wanted, %d is the most (serve --state-memory): %w", b.taken, more, b.all, ErrFull)
		case b.owners[owner]+more > limit:
			return fmt.Errorf("the state of its owner takes %d bytes, %d more are wanted, %d is the most: %w", b.owners[owner], more, limit, ErrFull)
		case to != "" && b.functions[name]+own > most(limit):
			return fmt.Errorf("function %q has written %d bytes of state, %d more are wanted, %d is the most: delete what is not needed: %w", to, b.functions[name], own, most(limit), ErrFull)
		}
	}
	b.taken += more
	count(b.owners, owner, more)
	if from != "" {
		count(b.functions, owner+"\x00"+from, -before)
	}
	if to != "" {
		count(b.functions, name, after)
	}
	return nil
}

func count(m map[string]int64, key string, more int64) {
	if m[key] += more; m[key] == 0 {
		delete(m, key)
	}
}

// used is what an owner's values take, and what all do.
func (b *budget) used(owner string) (own, all int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owners[owner], b.taken
}
