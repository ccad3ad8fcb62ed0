// Package sealed writes files that are durable and never change again: whatever
// is kept in a state directory is written by it.
//
// A file is written under a temporary name in its directory, synced, made
// unwritable, renamed, and its directory synced: it is there whole under its name
// or not at all. An error means that it is not stored. What a crash leaves under
// temporary names is removed by Sweep. A file of a name that exists is replaced;
// who has the earlier one open or mapped keeps it.
//
// One process at a time may write in a state directory: the one that has its Lock.
// The package keeps no state and takes no lock in memory; its functions may be called
// concurrently.
package sealed
