// Package debian collects files of a root file system that Debian's packages made,
// most often this host's own, for an image.
//
// A [Collector] takes what it is told to, under the paths that it has there, with all
// symbolic links on the way, and then what the dynamic loader would load for the ELF
// files among it: by DT_NEEDED, DT_RPATH, DT_RUNPATH, the loader's cache and the
// default directories, by the names that the loader opens (ld.so(8)). It reads files
// and runs nothing of them; dpkg-query(1) is asked what packages hold.
//
// Units: times are whole seconds since 1970. Paths are those of the tree, which is at
// a host directory; Host says where. Ownership: a Collector is for one image and one
// goroutine. Locks: none.
package debian
