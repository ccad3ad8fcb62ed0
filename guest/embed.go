package guest

import _ "embed"

//go:generate sh kernel/build.sh ../kernel.elf

//go:embed kernel.elf
var kernelELF []byte

// Kernel returns the kernel library, an x86-64 ELF linked at KernelGPA. It is
// built from guest/kernel by go generate and committed, so that nobody needs a
// C compiler to build this module. The caller must not change it.
func Kernel() []byte { return kernelELF }
