// Package park decides which instances that wait leave their machines, keeps count of those
// that have, and wakes them: when their guest's timer is due, when something comes for it,
// or when it is over. What is parked and how is package instance's; on which machine it goes
// on is its caller's.
//
// An instance leaves its machine only when somebody wants one. Who has waited longest on
// his leaves first. What is parked is whole at first; it is squeezed when it has been there
// for a while, or at once, by who parks it, where much is whole.
//
// Units: bytes; time.Duration.
//
// One owner may have three quarters of the room, but he whose the host is all of it.
// Who finds none stays on his machine, and is asked again when there is some.
//
// Ownership: a Stay belongs to the goroutine of its instance. A Lot owns one goroutine, from
// the first Wait to Close, and another one while that has something squeezed.
//
// Locks: Lot.mu, a leaf; a Stay's nudge is called with it held, Options.Failed and a
// Content's methods without it.
package park
