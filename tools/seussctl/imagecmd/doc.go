// Package imagecmd is seussctl image: one file a subcommand. Nothing is decided here;
// commands decode their arguments, call the store or the daemon, and print.
//
// Ownership and locks: as in package cmdline.
package imagecmd
