// Package cmdline is what seussctl's commands share: the environment of a command
// line (Env), what a command is made of (Spec), tables and documents, errors and
// their exit codes, the platform, images that are built when they are needed, the
// daemon where one runs. Groups of commands are packages of their own (snapshotcmd,
// benchcmd), which import this one and are imported by app.
//
// Units: sizes in tables are IEC (1 KiB = 1024 bytes), in JSON bytes; durations in
// JSON carry their unit in the name.
//
// Ownership: an Env belongs to one command line and one goroutine. Locks: the
// progress bar's.
package cmdline
