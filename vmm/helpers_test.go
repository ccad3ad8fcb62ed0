package vmm_test

import "math/bits"

func mul(a, b uint64) (hi, lo uint64) { return bits.Mul64(a, b) }
