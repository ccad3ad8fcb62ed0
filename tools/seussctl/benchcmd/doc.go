// Package benchcmd is seussctl bench: one file a bench. What is measured, and with
// which bars, is in package bench; here arguments are decoded and tables printed.
//
// Ownership and locks: as in package cmdline.
package benchcmd
