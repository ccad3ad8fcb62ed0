// Package imagebench is what images are measured with: OCI layouts whose images have a
// base in common, and other people's programs that copy and unpack them.
//
// Units: bytes; durations are time.Duration.
//
// Ownership: what is written lies below the directory that is given, which is the caller's.
//
// Locks: none.
package imagebench
