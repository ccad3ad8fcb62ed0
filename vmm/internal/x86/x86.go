// Package x86 wraps the few instructions of the host CPU that Go has no
// function for. Results are those of the CPU that the calling thread runs on;
// there is no state, nothing to own and no lock.
package x86

// TSC returns the time-stamp counter. Earlier loads are complete before the
// counter is read (Intel SDM vol. 2, RDTSC).
func TSC() uint64

// CPUID executes CPUID for a leaf and sub-leaf.
func CPUID(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

// XGETBV returns the extended control register XCR0. The CPU must have OSXSAVE
// (CPUID leaf 1, ECX bit 27), else the instruction faults.
func XGETBV() uint64
