// Package guest holds the host's view of the unikernel: three contracts, each a C
// header with a version of its own (abi/kernel.h, abi/driver.h, abi/image.h), are
// mirrored in Go, generated so that no number is written twice.
//
// Names: ABI_BOOT_GPA becomes BootGPA. struct abi_control becomes the type
// Control, the constant ControlSize (bytes) and one constant a field with its
// offset in bytes, such as ControlRunnable. Where a #define already has that
// name with another value, the offset carries the suffix Offset
// (BootMagicOffset beside BootMagic).
//
// Units: addresses are guest-physical byte addresses, which in this flat,
// identity-mapped guest equal virtual ones; sizes are bytes; all integers are
// little endian. The types mirror the C layout exactly, padding included, so
// encoding/binary reads and writes them.
//
// Ownership and locks: the package has no state.
package guest

//go:generate go run ./internal/abigen -header abi/kernel.h -output abi_kernel_gen.go
//go:generate go run ./internal/abigen -header abi/driver.h -output abi_driver_gen.go
//go:generate go run ./internal/abigen -header abi/image.h -output abi_image_gen.go
