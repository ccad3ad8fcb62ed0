// Package outbound lets guests reach other machines, as far as a list allows it.
//
// A guest's socket that leaves its machine is a vsock stream to guest.NetPort
// (guest/abi/kernel.h). An Instance, one for each invocation, takes these streams: it asks
// the Policy whether the address may be reached, connects, and carries bytes. It
// answers DNS questions itself, through the host's resolver, for names that the
// policy allows and no others; what it has answered may then be connected to, by
// that instance alone.
//
// What is allowed: Parse reads the list. Addresses that lead to the host itself or
// to networks that are not public (loopback, private, link-local and the like) need
// an entry that names them as addresses: no name leads there, and no wide prefix.
//
// All bytes of a guest are hostile. Streams, questions under way, remembered
// addresses and buffers of an instance are bounded; a slow side is not read from.
//
// An Instance's Accept is called by the goroutine inside the machine's Run, all else
// may be called from any goroutine.
package outbound
