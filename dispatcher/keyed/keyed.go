// Package keyed has locks of things that have names.
//
// Ownership: whoever locked unlocks. Locks: mu is a leaf.
package keyed

import (
	"context"
	"fmt"
	"sync"
)

// Locks are locks of things that have names: who changes one waits for nobody who
// changes another. There are as many as are held or waited for.
type Locks struct {
	mu   sync.Mutex // a leaf
	held map[string]*entry
}

type entry struct {
	turn  chan struct{} // holds one value while the lock is free
	users int           // that hold it or wait
}

// Lock waits until nobody else holds the lock of key, or ctx ends.
func (k *Locks) Lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	l := k.held[key]
	if l == nil {
		l = &entry{turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		if k.held == nil {
			k.held = map[string]*entry{}
		}
		k.held[key] = l
	}
	l.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.held, key)
		}
	}
	select {
	case <-l.turn:
		return func() {
			l.turn <- struct{}{}
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for another change of %s: %w", key, context.Cause(ctx))
	}
}
