// Package logs keeps what functions print and what goes wrong with them, for each function
// by itself, bounded by size and age, across restarts of the service.
//
// A function's entries lie in a directory of its own, named by the function and the
// identity that its deployment got when it was created: one that is removed and made anew
// shares nothing with the one before. Entries are appended to segments (segment.go has the
// layout); the oldest segments go when they are too old, when the function has more than
// its size, or, those of the owner who has most first, when all together have more than
// theirs.
//
// Nobody waits for a log: Add puts an entry into a queue that is bounded in bytes and fair
// between owners and their functions, and one goroutine writes. What does not fit, and what
// the disk does not take, is dropped, counted by function and said in the log itself as soon
// as something can be written again. Nothing is synced: a power cut may take the last
// seconds. A torn or damaged end of a segment is left out, whatever it holds.
//
// Units: bytes; time.Duration.
//
// Ownership: a Store owns its goroutine and files until Close; a Follower is its caller's
// until Close.
//
// Locks: Store.mu, a leaf: nothing is read or written with it held.
package logs
