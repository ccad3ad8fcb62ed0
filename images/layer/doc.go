// Package layer stores the layers that root file systems are made of.
//
// A layer is one immutable file, made in one pass from a tar stream: the content of
// its files, and what they are called. Content comes first, so that pages of the file
// can be guest memory: what a program may map begins at a page, and small files lie
// together. Behind it come the entries (a layer's names with mode, owner, time, link
// target, and what the layer hides of those below it), a checksum for each page of
// content, and a digest for each 64 KiB of it. The layout is described in format.go.
//
// Devices, sockets and FIFOs are left out and counted: an image cannot hold them.
// Extended attributes are left out.
//
// Units: offsets count from the start of the file and, like sizes, are in bytes. Times
// are whole seconds since 1970, modes are Linux st_mode. Paths are relative to the root
// of the file system, clean, and without a leading slash; the root itself is "".
//
// Determinism: the bytes of a layer depend on the tar stream alone, so equal streams
// give equal digests.
//
// Hostile input: a tar stream and a layer's file are believed nothing. Memory is
// bounded by the number of entries (a million) and by the loaded size of one shared
// object, disk by what the caller allows.
//
// Ownership: a Layer owns its open file until Close. It is safe for concurrent readers;
// Close must come last.
//
// Locks: none. A Store relies on atomic renames, so several processes may use one
// directory.
package layer
