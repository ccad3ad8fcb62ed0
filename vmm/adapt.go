package vmm

import (
	"fmt"

	"seuss/guest"
	"seuss/vmm/platform"
)

// Adapt returns the state as a platform with the given processor runs it. A
// guest is the same program at either privilege level and on any platform; what
// differs is which selectors it runs with, and control bits that platforms
// choose. The receiver is returned itself where nothing differs.
//
// Part of the level is in guest memory: the gates through which exceptions enter.
// Restoring an adapted state rewrites them.
func (s *State) Adapt(cpu platform.CPU) *State {
	cr4 := s.CPU.Special.CR4 &^ cr4FSGSBASE
	if cpu.FSGSBASE {
		cr4 |= cr4FSGSBASE
	}
	if s.CPL == cpu.CPL && s.CPU.Special.CR4 == cr4 {
		return s
	}
	a := *s
	a.CPU = s.CPU.Clone()
	a.CPU.Special.CR4 = cr4
	if s.CPL != cpu.CPL {
		a.CPL, a.newLevel = cpu.CPL, true
		r := &a.CPU.Special
		for _, seg := range []*platform.Segment{&r.CS, &r.SS, &r.DS, &r.ES, &r.FS, &r.GS} {
			atLevel(seg, cpu.CPL)
		}
	}
	return &a
}

// atLevel moves one of the guest's own flat segments to a privilege level.
// Another one, which a program has loaded, stays as it is.
func atLevel(s *platform.Segment, cpl uint8) {
	code, data := uint16(guest.SelCode0), uint16(guest.SelData0)
	if cpl == 3 {
		code, data = guest.SelCode3, guest.SelData3
	}
	switch s.Selector {
	case guest.SelCode0, guest.SelCode3:
		s.Selector, s.DPL = code, cpl
	case guest.SelData0, guest.SelData3:
		s.Selector, s.DPL = data, cpl
	}
}

// setLevel makes the exception gates in guest memory those of a level.
func (m descriptors) setLevel(cpl uint8) error {
	table, err := m.Slice(guest.IDTGPA, stubVectors*gateBytes)
	if err != nil {
		return fmt.Errorf("exception gates: %w", err)
	}
	selector := uint16(guest.SelCode0)
	if cpl == 3 {
		selector = guest.SelCode3
	}
	for v := range stubVectors {
		g := table[v*gateBytes:]
		put16(g[2:], selector)
		g[5] = g[5]&^0x60 | cpl<<5
	}
	m.MarkWritten(guest.IDTGPA, stubVectors*gateBytes)
	return nil
}

// withCold adds to the MSRs of a state those that the vCPU has besides, as they
// were after power-on: a state of another platform names fewer, and what an
// earlier instance left in them must not stay.
func withCold(s, cold *platform.CPUState) []platform.MSR {
	out := make([]platform.MSR, 0, max(len(s.MSRs), len(cold.MSRs)))
	i := 0
	for _, c := range cold.MSRs {
		for i < len(s.MSRs) && s.MSRs[i].Index < c.Index {
			out = append(out, s.MSRs[i])
			i++
		}
		if i < len(s.MSRs) && s.MSRs[i].Index == c.Index {
			continue
		}
		out = append(out, c)
	}
	return append(out, s.MSRs[i:]...)
}
