package kvm_test

import (
	"testing"

	"seuss/vmm/platform"
	"seuss/vmm/platform/conformance"
	"seuss/vmm/platform/kvm"
	"seuss/vmm/vmmtest"
)

func TestConformance(t *testing.T) {
	for name, o := range map[string]kvm.Options{"log": {}, "ring": {DirtyRingEntries: 1024}} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t testing.TB) platform.Platform { return vmmtest.RequireKVMOptions(t, o) })
		})
	}
}
