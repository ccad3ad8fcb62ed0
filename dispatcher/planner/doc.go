// Package planner lives with plans: it keeps the one that is applied to an image, has its
// import nodes captured, says where a function starts, and has functions that are used
// captured anew below their best node. What a plan is, and how it is found, is in package
// plan; what is done with machines is done by a [Host].
//
// What functions tell of their imports is a hint, and decides nothing here. What a package
// needs comes from a probe: a function of this program's imports it in a fresh instance of
// the image's base. What a function needs is what its own text asks for, closed under
// that. It starts from no node that has a package beyond: whoever has not asked for a
// package never runs on memory that its code has touched. A plan is of one image by its
// digest, so versions cannot mix.
//
// A planned node holds what came from the image alone, so plans of several owners share
// nodes; a function starts from those of its owner's plan and of the one for all.
//
// Units: milliseconds in fields named MS, pages of 4 KiB. Files are written by
// lineage/sealed: a plan is there whole or not at all, and which of its nodes are made is
// asked of the lineage, so work that is killed goes on where it was.
//
// Of code that is gone, what it has imported and how often it was called is kept in two files,
// of which the older one takes in the newer one when that is full: every owner's newest lines
// stay, and nobody's more while another's go who has less (gone.go).
//
// Ownership: a Planner's owner starts and ends its goroutines, Run and Refits; the others
// are those of callers. Locks: Planner.changing, held while a plan's file is written, before
// Planner.mu, a leaf; neither is held while the Host works. Gone.mu, a
// leaf.
package planner
