package vmm

import (
	"testing"

	"seuss/vmm/platform"
)

// BenchmarkDecodeState decodes a state of the size of a small function's: it is done
// whenever a node's memory is brought back.
func BenchmarkDecodeState(b *testing.B) {
	s := sampleState()
	s.CPU.MSRs = make([]platform.MSR, 60)
	for i := range s.CPU.MSRs {
		s.CPU.MSRs[i].Index = uint32(i)
	}
	s.CPU.XSave = make([]byte, 2688)
	data, err := s.MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := s.UnmarshalBinary(data); err != nil {
			b.Fatal(err)
		}
	}
}
