// Package pages says where the pages of a guest's memory are, and makes sure that they
// are what was sealed. It knows nothing of nodes, of directories, or of what is stored
// where.
//
// A Blob is an immutable run of pages: of a file, mapped (blob.go), or copied into huge
// pages (huge.go); of a file whose pages are read when they are needed (paged.go); or
// made of a parent's pages and the words that differ (expand.go), in memory that is used
// again (slab.go). A View maps every page of a guest to a page of a Blob or to zero
// (view.go); two of them are compared by structure (diff.go).
//
// Units: a page is 4 KiB; page numbers are guest frame numbers unless a name says page of
// a blob; offsets in files are bytes.
//
// Ownership: a Blob's mapping and its file live for as long as the Blob is reachable,
// through a View or directly; a byte slice taken from either is valid only for that
// long, and is read-only memory (a write to it faults). View and Blob are immutable and
// safe for concurrent use.
//
// Locks: pageSource.locks, Patches.mu, Shared.mu and the slabs' lock are leaves.
package pages
