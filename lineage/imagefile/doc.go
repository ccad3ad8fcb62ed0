// Package imagefile reads of a root image what a store of lineages must know: which layers
// belong to it, and where guests see them. What else is in an image is package images'
// business.
//
// An image consists of files: its own, and those of its layers, which other images have too.
// It travels as these files, one behind the other, each padded to whole pages.
//
// Units: bytes. Everything read is hostile: tables are bounded before they take memory.
//
// Ownership: nothing stays open. Locks: none.
package imagefile
