// Package inflight knows what is under way: a Table of everything that waits or runs,
// which a request enters and leaves without a lock and without an allocation, and the
// Progress of each, which it reports as it goes and by which others may end it.
//
// Units: times are Unix nanoseconds, pages are 4 KiB.
//
// Ownership: a Progress belongs to the goroutine of its request, which alone moves it on;
// anybody may look at it and kill it at any time, also when it is over.
//
// Concurrency: whoever walks a table delays nobody who enters or leaves it, and sees each
// entry that was there during all of the walk. A Progress has a lock between its request,
// which takes it where it comes to a machine, leaves one or ends, and those who kill it:
// who looks takes none. An interrupt may hit a run that has ended by itself, and so the next
// one of that machine, of whatever instance: who runs guests goes on then.
package inflight
