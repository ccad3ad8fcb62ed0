package vmm

import "unsafe"

// stateFixedBytes is the length of stateFixed as it is encoded: its fields are
// integers that follow each other without padding, so on the CPUs that this package
// runs on, which are little endian, its memory is its encoding. A state is decoded
// while somebody waits, and encoding/binary takes ten times as long.
const stateFixedBytes = 632

// It must be no more and no less.
var (
	_ [unsafe.Sizeof(stateFixed{}) - stateFixedBytes]struct{}
	_ [stateFixedBytes - unsafe.Sizeof(stateFixed{})]struct{}
)

// bytes returns the memory of f.
func (f *stateFixed) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(f)), stateFixedBytes)
}
