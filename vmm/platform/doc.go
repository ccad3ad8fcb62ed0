// Package platform says what can run a guest's vCPU: the interfaces Platform, VM, VCPU
// and Backing (where the guest's memory is), what they exchange, and what all
// platforms share. It knows no platform; each lies in a folder of its own below, which
// registers it (Register), and whoever offers them to a user imports package all.
// Package vmm builds machines on the interfaces alone: what a platform can do that
// others cannot is a method (Capabilities), never a type.
//
// A platform is added so: a folder with a type for each interface, a Kind with what it
// requires of the host, a line in package all, and a test that runs the suite of package
// conformance, which says in code what the comments here say in words.
//
// Units are those of package vmm: addresses are guest-physical bytes, page numbers
// count from the machine's first page, but those of the far window from address 0.
//
// Ownership: a Platform outlives its VMs. A VM must be closed before its Backing.
//
// Locks: kinds are registered while the program starts, and read afterwards. Paging has
// a lock, a leaf.
package platform
