package kvm

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"

	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

// TestStateAfterState: a state that follows another with no guest between is whole, and so
// is one that follows one which was refused, though what is there already is not written.
func TestStateAfterState(t *testing.T) {
	p, err := New(Options{})
	if errors.Is(err, platform.ErrUnavailable) && os.Getenv("CI_KVM") != "1" {
		t.Skip("skipped without KVM:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	vm, err := p.NewVM()
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	v := vm.VCPU().(*VCPU)
	var a platform.CPUState
	if err := v.State(&a); err != nil {
		t.Fatal(err)
	}
	other := func(change func(s *platform.CPUState)) *platform.CPUState {
		s := a
		s.XSave, s.MSRs = bytes.Clone(a.XSave), slices.Clone(a.MSRs)
		change(&s)
		return &s
	}
	star := slices.IndexFunc(a.MSRs, func(m platform.MSR) bool { return m.Index == x86.MSRLSTAR })
	const xmm0, header, x87, sse = 160, 512, 1 << 0, 1 << 1
	states := []*platform.CPUState{
		&a,
		other(func(s *platform.CPUState) { s.Debug.DB[1] = 0x1000 }),
		other(func(s *platform.CPUState) { s.MSRs[star].Value = 0x123000 }),
		other(func(s *platform.CPUState) { s.XSave[xmm0] ^= 0x55; s.XSave[header] |= sse }),
		other(func(s *platform.CPUState) { s.XCR0 = x87 }),
		other(func(s *platform.CPUState) { s.Regs.RAX = 7 }),
	}
	refused := other(func(s *platform.CPUState) { s.XCR0 = 0; s.Debug.DB[0] = 0x2000; s.MSRs[star].Value = 0x4000 })
	for i := range states {
		for j, s := range states {
			for _, bad := range []bool{false, true} {
				if err := v.SetState(states[i]); err != nil {
					t.Fatal(i, err)
				}
				if bad && v.SetState(refused) == nil {
					t.Fatal("XCR0 without x87 was taken")
				}
				if err := v.SetState(s); err != nil {
					t.Fatal(j, err)
				}
				var got platform.CPUState
				if err := v.State(&got); err != nil {
					t.Fatal(err)
				}
				got.XSave = touched(got.XSave)
				want := *s
				want.XSave = touched(s.XSave)
				if !reflect.DeepEqual(got, want) {
					got.XSave, want.XSave = nil, nil
					t.Errorf("state %d after %d (a refused one between them: %v):\n%+v\nin place of\n%+v", j, i, bad, got, want)
				}
			}
		}
	}
}
