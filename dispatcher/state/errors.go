package state

import (
	"errors"
	"fmt"
)

// Errors. What they are wrapped in says of which key, and what to do.
var (
	// ErrKey: a key is not SHARE/NAME, or a part of it cannot be one.
	ErrKey = errors.New("not a key")
	// ErrForbidden: the deployment names no such share, or names it for reading.
	ErrForbidden = errors.New("not shared with it")
	// ErrNotFound: there is no value of that key.
	ErrNotFound = errors.New("no such key")
	// ErrChanged: the value has another version than was asked for.
	ErrChanged = errors.New("the value has changed")
	// ErrFenced: the lock whose token a write has given is held by nobody, or by another.
	ErrFenced = errors.New("the lock is not held any more")
	// ErrTooLarge: a value, or what one operation moves, would be larger than is allowed.
	ErrTooLarge = errors.New("too large")
	// ErrFull: the state takes all the memory that it may.
	ErrFull = errors.New("no room for state")
	// ErrDeadlock: to wait for the lock would be to wait for ever.
	ErrDeadlock = errors.New("deadlock")
	// ErrNotHeld: the session does not hold the lock that is to be released or renewed.
	ErrNotHeld = errors.New("the lock is not held")
	// ErrTooMany: a session holds, or waits for, as much at a time as it may.
	ErrTooMany = errors.New("too many at a time")
	// ErrEnded: the session, or the store, is over.
	ErrEnded = errors.New("the session is over")
	// ErrRange: an offset, a length or a lease that cannot be.
	ErrRange = errors.New("out of range")
)

// ofKey says of which key an error is.
func ofKey(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("state %q: %w", key, err)
}
