// Package plan answers which import nodes a lineage tree should hold: from a workload,
// that is functions with the packages that they need, and from what importing each
// package costs, it fits a [Tree] of sets of packages, and evaluates one.
//
// Two methods fit a tree. [Published] is the greedy splitter of Forklift (WoSC'24), with
// the rules that its author's lecture named before; it is here so that results can be
// compared with published ones. [Cover], the default, is ours: a node of a lineage is a
// delta of kilobytes and nests as deep as one likes, so what counts is the time that a
// node saves for all functions together, and the bytes that it takes; see cover.go.
//
// A package is name==version, without extras; columns are ordered by the bytes of that
// text. A function may start from a node only if it needs every package of the node and
// of those above it (SOCK, ATC'18), which [Tree] lookups never break.
//
// Units: costs are in milliseconds or mebibytes as [Costs] says, times nothing else.
// Limits: see limits.go. Nothing here does any input or output but from an [io.Reader].
// Locks: none; a Workload and a Tree may be read by several goroutines.
package plan
