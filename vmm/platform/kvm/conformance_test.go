package kvm_test

import (
	"testing"

	"seuss/vmm/platform"
	"seuss/vmm/platform/conformance"
	"seuss/vmm/platform/kvm"
	"seuss/vmm/vmmtest"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t testing.TB) platform.Platform { return vmmtest.RequireKVM(t) })
	t.Run("dirty ring", func(t *testing.T) {
		conformance.Run(t, func(t testing.TB) platform.Platform {
			return vmmtest.RequireKVMOptions(t, kvm.Options{DirtyRingEntries: 1024})
		}, "restore law", "write tracker")
	})
}
