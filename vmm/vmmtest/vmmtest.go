// Package vmmtest helps tests that need to run guests.
//
// It keeps no state; nothing is owned beyond the test that asks, and there is
// no lock.
package vmmtest

import (
	"errors"
	"os"
	"testing"

	"seuss/vmm"
	"seuss/vmm/kvm"
)

// RequireKVM opens KVM for the test and closes it at its end. Without KVM the
// test is skipped with one line that says why; where CI_KVM=1 promises that
// there is one, it fails. VMM_TEST_CPL=0 or 3 overrides the privilege level.
func RequireKVM(t testing.TB) *kvm.Platform {
	t.Helper()
	return RequireKVMOptions(t, kvm.Options{})
}

// RequireKVMOptions is RequireKVM with options. VMM_TEST_CPL takes precedence.
func RequireKVMOptions(t testing.TB, o kvm.Options) *kvm.Platform {
	t.Helper()
	switch cpl := os.Getenv("VMM_TEST_CPL"); cpl {
	case "":
	case "0":
		o.Level = kvm.LevelKernel
	case "3":
		o.Level = kvm.LevelUser
	default:
		t.Fatalf("VMM_TEST_CPL=%s: must be 0 or 3", cpl)
	}
	p, err := kvm.New(o)
	if errors.Is(err, vmm.ErrNoKVM) && os.Getenv("CI_KVM") != "1" {
		t.Skip("skipped without KVM:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}
