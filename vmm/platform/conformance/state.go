package conformance

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest/testguest"
)

// sameAs compares a machine at rest with what was captured, and lets it go on.
func (b *bench) sameAs(s *vmm.State, ram []byte, after string) {
	b.t.Helper()
	if now := b.capture(); !now.Equal(s) {
		b.t.Errorf("%s: the state is another one:\n%+v\n%+v", after, now.CPU, s.CPU)
	}
	now := b.contents()
	for page := range b.Memory().Pages() {
		at := page * guest.PageSize
		if !bytes.Equal(now[at:at+guest.PageSize], ram[at:at+guest.PageSize]) {
			b.t.Errorf("%s: page %#x is another one", after, page)
		}
	}
	b.must(b.WriteIdentity(vmm.Identity{}))
	b.stops(vmm.StopIdle)
}

// restoreLaw: capture, mutate, restore: memory and registers are the same bytes.
func restoreLaw(b *bench) {
	s, ram := b.capture(), b.contents()
	r := rand.New(rand.NewPCG(1, 2))
	for _, round := range []string{"once", "again", "and again"} {
		var words []guest.GPA
		for range 40 {
			words = append(words, 0x500000+guest.GPA(r.Uint64N(0x200000))&^7)
		}
		b.add(words...)
		b.command(testguest.Console)
		if b.p.Capabilities().MachineCode {
			b.command(testguest.PageFault)
			b.command(testguest.Syscall)
		}
		if b.capture().Equal(s) || bytes.Equal(b.contents(), ram) {
			b.t.Fatal("nothing has changed: the comparison is blind")
		}
		b.restore(s, ram)
		b.sameAs(s, ram, round)
	}
}

// restoreFromComputing: an instance that was stopped anywhere leaves nothing either.
func restoreFromComputing(b *bench) {
	s, ram := b.capture(), b.contents()
	b.compute()
	if stop := b.run(5 * time.Millisecond); stop.Kind != vmm.StopTimeout {
		b.t.Fatalf("a guest that computes stopped with %v", stop.Kind)
	}
	b.restore(s, ram)
	b.sameAs(s, ram, "a restore from computing")
}

// restoreElsewhere: a state is a machine's, not one machine's.
func restoreElsewhere(b *bench) {
	b.add(0x500000)
	s, ram := b.capture(), b.contents()
	raw, err := s.MarshalBinary()
	b.must(err)
	var decoded vmm.State
	b.must(decoded.UnmarshalBinary(raw))
	other := b.another()
	other.restore(&decoded, ram)
	other.sameAs(s, ram, "a restore on another machine")
	other.add(0x500000)
	if got := other.u64(0x500000); got != 2 {
		b.t.Errorf("a word that was 1 and is added to is %d", got)
	}
	if got := b.u64(0x500000); got != 1 {
		b.t.Errorf("the first machine's word is %d", got)
	}
}

// guestRegisters: the guest itself finds its registers as they were.
func guestRegisters(b *bench) {
	b.command(testguest.Registers)
	s, ram := b.capture(), b.contents()
	for range 2 {
		b.stops(vmm.StopIdle) // it goes on, and rests where it rests else
		b.command(testguest.PageFault)
		b.restore(s, ram)
		b.sameAs(s, ram, "a restore")
		for i, want := range []uint64{0x1001, 0x1002, 0x1003, 0x1004, 0x1005, 0x1006, 0x1007, 0x1004, 0x1003, 0x1005} {
			if got := b.u64(testguest.Saved + guest.GPA(8*i)); got != want {
				b.t.Errorf("register %d came back as %#x, want %#x", i, got, want)
			}
		}
	}
}

// stateRoundTrip: State reads what SetState wrote, and Regs what SetRegs did.
func stateRoundTrip(b *bench) {
	v := b.VM().VCPU()
	var s, now platform.CPUState
	b.must(v.State(&s))
	want := s.Clone()
	r := &want.Regs
	for i, at := range [...]*uint64{&r.RAX, &r.RBX, &r.RCX, &r.RDX, &r.RSI, &r.RDI, &r.RBP,
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15} {
		*at = 0x8f7e6d5c4b3a2910 + uint64(i)*0x0101010101010101
	}
	want.Special.FS.Base = 0x1234567000
	b.must(v.SetState(&want), v.State(&now))
	if b.p.Capabilities().MachineCode {
		// What was set counts from the next run on; a capture has it all the same.
		_, err := b.Run(vmm.RunOptions{Deadline: time.Now()})
		b.must(err)
		b.must(v.SetState(&want), v.State(&now))
	}
	if !now.Equal(&want) {
		b.t.Errorf("set\n%+v\nread\n%+v", want, now)
	}
	var regs platform.Regs
	want.Regs.RAX = 7
	v.SetRegs(&want.Regs)
	if v.Regs(&regs); regs != want.Regs {
		b.t.Errorf("registers set\n%+v\nread\n%+v", want.Regs, regs)
	}
}

// forgedState: what no processor can have is refused, by SetState or by the next run, or
// comes to an end that the guest could have had; it is the end of nobody else, and
// nothing of it stays.
func forgedState(b *bench) {
	good, ram := b.capture(), b.contents()
	refused := 0
	for name, forge := range map[string]func(*platform.CPUState){
		"RIP not canonical":       func(s *platform.CPUState) { s.Regs.RIP = 1 << 63 },
		"RSP not canonical":       func(s *platform.CPUState) { s.Regs.RSP = 1 << 62 },
		"all flags":               func(s *platform.CPUState) { s.Regs.RFLAGS = math.MaxUint64 },
		"paging without mode":     func(s *platform.CPUState) { s.Special.CR0 = 1 << 31 },
		"all of CR4":              func(s *platform.CPUState) { s.Special.CR4 = math.MaxUint64 },
		"all of EFER":             func(s *platform.CPUState) { s.Special.EFER = math.MaxUint64 },
		"tables nowhere":          func(s *platform.CPUState) { s.Special.CR3 = 1 << 51 },
		"code that is data":       func(s *platform.CPUState) { s.Special.CS.Type = 3 },
		"FS base not canonical":   func(s *platform.CPUState) { s.Special.FS.Base = 1 << 63 },
		"XCR0 without x87":        func(s *platform.CPUState) { s.XCR0 = 2 },
		"MXCSR reserved bits":     func(s *platform.CPUState) { s.XSave[27] = 0xff },
		"unknown components":      func(s *platform.CPUState) { s.XSave[512+7] = 0x7f },
		"compacted state":         func(s *platform.CPUState) { s.XSave[512+15] = 0x80 },
		"reserved header":         func(s *platform.CPUState) { s.XSave[512+40] = 1 },
		"no extended state":       func(s *platform.CPUState) { s.XSave = nil },
		"much extended state":     func(s *platform.CPUState) { s.XSave = bytes.Repeat([]byte{0xff}, 1<<20) },
		"an MSR that is none":     func(s *platform.CPUState) { s.MSRs = append(s.MSRs, platform.MSR{Index: 0xfffffff0}) },
		"system calls to nowhere": func(s *platform.CPUState) { s.MSRs[len(s.MSRs)-1].Value = math.MaxUint64 },
		"unknown run state":       func(s *platform.CPUState) { s.MPState = 77 },
		"debug registers":         func(s *platform.CPUState) { s.Debug = platform.DebugRegs{DR6: math.MaxUint64, DR7: math.MaxUint64} },
		"an exception under way":  func(s *platform.CPUState) { s.Events.ExceptionInjected, s.Events.ExceptionNr = 1, 200 },
	} {
		s := good.CPU.Clone()
		forge(&s)
		m := b
		if !b.VM().Alive() {
			b.t.Fatalf("%s: the machine of the one before is dead", name)
		}
		m = b.another() // it may cost its machine
		m.restore(good, ram)
		err := m.VM().VCPU().SetState(&s)
		if err == nil {
			var stop vmm.Stop
			m.must(m.WriteIdentity(vmm.Identity{}))
			stop, err = m.Run(vmm.RunOptions{Deadline: time.Now().Add(20 * time.Millisecond)})
			b.t.Logf("%s: %v, %v", name, stop.Kind, err)
		} else {
			refused++
			b.t.Logf("%s: refused: %v", name, err)
		}
		if errors.Is(err, unix.ESRCH) && m.VM().Alive() {
			b.t.Errorf("%s: the guest is gone and its machine alive: %v", name, err)
		}
		if m.VM().Alive() {
			if err := m.Settle(); err != nil {
				b.t.Logf("%s: it does not settle, and is given up: %v", name, err)
			} else {
				m.restore(good, ram)
				m.sameAs(good, ram, "a restore after "+name)
			}
		}
		m.must(m.Close())
		b.stops(vmm.StopIdle) // and others go on
	}
	if refused == 0 {
		b.t.Error("no forged state was refused: the check is blind")
	}
}
