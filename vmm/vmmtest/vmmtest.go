// Package vmmtest helps tests that need to run guests.
//
// It keeps no state; nothing is owned beyond the test that asks, and there is
// no lock.
package vmmtest

import (
	"errors"
	"os"
	"testing"

	"seuss/vmm/platform"
	_ "seuss/vmm/platform/all"
	"seuss/vmm/platform/kvm"
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
	skipGuests(t)
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
	if errors.Is(err, platform.ErrUnavailable) && os.Getenv("CI_KVM") != "1" {
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

// skipGuests skips a test that needs guests where nobody wants any (make quick).
func skipGuests(t testing.TB) {
	t.Helper()
	if os.Getenv("SEUSS_TEST_PLATFORM") == "none" {
		t.Skip("skipped: SEUSS_TEST_PLATFORM=none, and this test runs a guest")
	}
}

// Require opens the platform that the test is to run on: the one that
// SEUSS_TEST_PLATFORM names, else the best that there is. It is closed at the test's end.
// With "none" the test is skipped.
func Require(t testing.TB) platform.Platform {
	t.Helper()
	skipGuests(t)
	name := os.Getenv("SEUSS_TEST_PLATFORM")
	if name == "" {
		p, k, passed, err := platform.OpenBest(platform.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(passed) > 0 && os.Getenv("CI_KVM") == "1" {
			t.Error(passed[0])
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		name = k.Name
	}
	k := platform.Find(name)
	if k == nil {
		t.Fatalf("SEUSS_TEST_PLATFORM=%s: there is no such platform; none skips the test", name)
	}
	if k == kvm.Kind {
		return RequireKVM(t)
	}
	p, err := k.Open(platform.Options{})
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
