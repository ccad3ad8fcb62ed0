// Package functioncmd is seussctl function: one file a subcommand. Nothing is decided
// here; commands decode their arguments, call the service, and print.
//
// Ownership and locks: as in package cmdline.
package functioncmd
