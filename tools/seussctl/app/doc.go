// Package app is the command line of seussctl: one file a subcommand, and the
// helpers they share. Commands decode their arguments, call package dispatcher
// or lineage, and print; nothing is decided here.
//
// Conventions: results go to stdout; logs, notes, errors and progress go to
// stderr. With --json stdout holds one JSON document. Flags may stand before
// or behind positional arguments, and the global flags anywhere.
//
// Units: sizes in tables are IEC (1 KiB = 1024 bytes), in JSON bytes;
// durations in JSON carry their unit in the name (_ns, _us).
//
// Ownership: Run makes one cli per call, which is used by one goroutine; it
// opens the state directory as late and as weakly as a command allows
// (read-only for everything that only reads) and closes it before returning.
//
// Locks: none.
package app
