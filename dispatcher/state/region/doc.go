// Package region keeps the memory that functions on a host share: regions, files in memory
// with a name, an owner and a size that never changes, which guests map. It decides who may
// open what, and how much there may be for a function, an owner and all.
//
// A Host has the regions of one host. A Set is what one instance has of them: it is the
// instance's vmm.Regions. A region lives until it is removed, whether anybody maps it or
// not; one that is removed keeps its memory, and counts, until the last instance that maps
// it has let go. Memory is taken from the host as a region is made, all of it, so a guest
// that touches a page never finds that there is none; it is given back by a goroutine of the
// Host, which exists while there is some to give back, and nobody takes any meanwhile.
//
// Nothing here is part of a snapshot. A snapshot has the names of what is mapped, in the
// guest's memory (struct abi_region); an instance that begins from it opens them anew, with
// the content of now, and does not begin where one is gone or not allowed any more.
//
// Push and Pull keep a region in the global tier of state, as the value of its key.
//
// Units: sizes are bytes. Ownership: a Host owns the files, and closes each when nobody has
// it any more; a Set is one instance's until Close. Locks: Host.mu, and Region.filling,
// which is held for the time in which 2 MiB of memory are taken; neither with the other.
// Region.pushing is the turn of who pushes or pulls a region, who waits for it with a context.
package region
