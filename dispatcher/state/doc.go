// Package state keeps what functions share: values by key in memory (the local tier), and
// locks. What survives the process is the global tier's, which a Store is given.
//
// An owner's state is his alone. It is divided in shares: a key is SHARE/NAME, and a
// function reaches the shares that its deployment names. A Session is one instance's, or
// one client's, way to the state of its owner: its locks and waits end with it.
//
// A value is a number of bytes, in chunks of ChunkBytes that never change: a write makes new
// ones, so whoever reads has what was there when he began, and nothing is copied under a
// lock but parts of two chunks. Every change of an owner's state has a version of its own,
// larger than all before it.
//
// Everything is bounded (Options): the bytes of a value, of a function's writing, of an
// owner, of all; locks and waits of a session. A wait ends with its context or its session.
//
// Units: bytes; time.Duration. Offsets count from 0.
//
// Ownership: a Store owns a timer for each lease, and no goroutine. Sessions are their
// callers' to Close. Methods of both may be called from any goroutine.
//
// Locks, in order: Store.mu (which owners there are), tenant.mu (an owner's values, locks and
// waits), budget.mu (what they take) and windows.mu (which values guests read without asking). No one of them is held while anybody is waited for.
package state
