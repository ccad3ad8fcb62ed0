// Package confine has a daemon give up what it does not need, so that whoever
// takes it over from inside a guest, or through a request, gains little by that.
//
// It happens in two steps, since each has what the other cannot. Enter comes
// first: the program becomes the service user, puts itself under Landlock and
// executes itself anew, in the same process. From its first instruction on the
// daemon is then in one Landlock domain, and so are the guests' processes that it
// starts later, into which it has to look. Seal comes when all is open that is
// opened once: one system call filter for all threads.
//
// Best effort: what the host does not offer is left out, and said (Measures). What
// is said to be in force was tried, not remembered.
//
// Units: none. Ownership: a Confinement belongs to the process. Locks: none.
package confine
