package vmm

import (
	"sync/atomic"
	"unsafe"
)

// word32 and word64 return words of guest memory for atomic access, which is
// needed where the monitor looks while the guest runs. b must be aligned.
func word32(b []byte) *uint32 { return (*uint32)(unsafe.Pointer(&b[:4][0])) }
func word64(b []byte) *uint64 { return (*uint64)(unsafe.Pointer(&b[:8][0])) }

func loadU32(b []byte) uint32     { return atomic.LoadUint32(word32(b)) }
func loadU64(b []byte) uint64     { return atomic.LoadUint64(word64(b)) }
func storeU32(b []byte, v uint32) { atomic.StoreUint32(word32(b), v) }
