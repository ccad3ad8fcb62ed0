package vmm_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/platform/kvm"
	"seuss/vmm/vmmtest"
)

// restWithRegisters lets the guest rest with known registers and captures it.
func restWithRegisters(t *testing.T) (*bench, *vmm.State, []byte) {
	b := newBench(t)
	b.needExtendedState()
	b.check(b.command(cmdRegisters), vmm.StopIdle)
	s := b.state()
	return b, s, bytes.Clone(b.Memory().Bytes())
}

// checkSaved checks what the guest stored after it went on from its rest.
func (b *bench) checkSaved() {
	b.t.Helper()
	for i, want := range []uint64{0x1001, 0x1002, 0x1003, 0x1004, 0x1005, 0x1006, 0x1007, 0x1004, 0x1003, 0x1005} {
		if got := b.u64(mailSaved + vmm.GPA(8*i)); got != want {
			b.t.Errorf("register %d came back as %#x, want %#x", i, got, want)
		}
	}
}

// TestRestoreIsExact is the law of the house: run, capture, mutate, restore:
// memory and registers are the same bytes.
func TestRestoreIsExact(t *testing.T) {
	b, s, ram := restWithRegisters(t)
	if s.CPU.Regs.RAX != 0x1001 || s.CPU.Special.FS.Base != 0x1005 {
		t.Fatalf("captured RAX %#x, FS base %#x", s.CPU.Regs.RAX, s.CPU.Special.FS.Base)
	}
	for _, name := range []string{"once", "again"} {
		// Mutate: another program, exceptions, console, clock.
		b.setU64(mailSaved, 0)
		b.check(b.command(cmdPageFault), vmm.StopIdle)
		b.check(b.command(cmdConsole), vmm.StopIdle)
		if mutated := b.state(); mutated.Equal(s) {
			t.Fatal("nothing has changed")
		}
		copy(b.Memory().Bytes(), ram)
		if err := b.Restore(s); err != nil {
			t.Fatal(name, err)
		}
		again := b.state()
		if !again.Equal(s) {
			t.Errorf("%s: restored state differs:\n%+v\n%+v", name, again, s)
		}
		if !bytes.Equal(b.Memory().Bytes(), ram) {
			t.Errorf("%s: restoring changed memory", name)
		}
		if err := b.WriteIdentity(vmm.Identity{}); err != nil {
			t.Fatal(err)
		}
		b.expect(vmm.StopIdle)
		b.checkSaved()
	}
}

// TestRestoreAgain runs and puts back, several times on one machine.
func TestRestoreAgain(t *testing.T) {
	b, s, ram := restWithRegisters(t)
	for range 3 {
		// To rest: no SSE state changes on this way.
		b.expect(vmm.StopIdle)
		b.check(b.command(cmdSyscall), vmm.StopIdle)
		copy(b.Memory().Bytes(), ram)
		if err := b.Restore(s); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteIdentity(vmm.Identity{}); err != nil {
			t.Fatal(err)
		}
		b.expect(vmm.StopIdle)
		b.checkSaved()
	}
}

// TestRestoreFromComputing restores a machine that was stopped at an arbitrary
// instruction, which is what happens after a timeout.
func TestRestoreFromComputing(t *testing.T) {
	b, s, ram := restWithRegisters(t)
	b.program(spin...)
	if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
		t.Fatal(err)
	}
	b.expect(vmm.StopIdle) // the command after registers is read by the next rest
	if err := b.Memory().WriteU32(mailbox, cmdProgram); err != nil {
		t.Fatal(err)
	}
	b.check(b.run(vmm.RunOptions{Deadline: time.Now().Add(5 * time.Millisecond)}), vmm.StopTimeout)
	copy(b.Memory().Bytes(), ram)
	if err := b.Restore(s); err != nil {
		t.Fatal(err)
	}
	if !b.state().Equal(s) {
		t.Error("state differs")
	}
	b.expect(vmm.StopIdle)
	b.checkSaved()
}

// TestRestoreIntoAnotherMachine moves an encoded state to a new machine.
func TestRestoreIntoAnotherMachine(t *testing.T) {
	_, s, ram := restWithRegisters(t)
	raw, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("encoded state: %d bytes", len(raw))
	var decoded vmm.State
	if err := decoded.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	if !decoded.Equal(s) {
		t.Fatal("the encoding loses something")
	}
	b := newBench(t)
	copy(b.Memory().Bytes(), ram)
	if err := b.Restore(&decoded); err != nil {
		t.Fatal(err)
	}
	if err := b.WriteIdentity(vmm.Identity{}); err != nil {
		t.Fatal(err)
	}
	b.expect(vmm.StopIdle)
	b.checkSaved()
}

func TestClonesDiffer(t *testing.T) {
	b, s, _ := restWithRegisters(t)
	seen := map[[64]byte]bool{}
	generations := map[uint64]bool{0: true}
	for range 50 {
		if err := b.Restore(s); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteIdentity(vmm.Identity{CID: 77}); err != nil {
			t.Fatal(err)
		}
		var id guest.Identity
		if err := b.Memory().ReadStruct(guest.IdentityGPA, &id); err != nil {
			t.Fatal(err)
		}
		if seen[id.Entropy] || generations[id.Generation] {
			t.Fatal("two clones have the same entropy or generation")
		}
		seen[id.Entropy], generations[id.Generation] = true, true
		if id.CID != 77 || b.Vsock().CID() != 77 {
			t.Errorf("CID %d and %d", id.CID, b.Vsock().CID())
		}
		if id.MonoNS != s.MonoNS {
			t.Errorf("monotonic time %d, captured at %d", id.MonoNS, s.MonoNS)
		}
		if d := time.Since(time.Unix(0, int64(id.WallNS))); d < 0 || d > time.Hour {
			t.Errorf("wall time is off by %v", d)
		}
	}
}

func TestStateMismatch(t *testing.T) {
	b, s, _ := restWithRegisters(t)
	for name, change := range map[string]func(*vmm.State){
		"level":  func(s *vmm.State) { s.CPL = 3 - s.CPL },
		"memory": func(s *vmm.State) { s.RAMBytes += 2 << 20 },
		"image":  func(s *vmm.State) { s.ImageBytes = 0 },
		"xcr0":   func(s *vmm.State) { s.CPU.XCR0 |= 1 << 62 },
	} {
		c := *s
		change(&c)
		if err := b.Restore(&c); !errors.Is(err, platform.ErrStateMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := *s
	c.CPU = s.CPU.Clone()
	c.CPU.MSRs = append(c.CPU.MSRs, platform.MSR{Index: 0xfffffff0})
	if err := b.Restore(&c); err == nil {
		t.Error("an MSR that does not exist was restored")
	} else {
		t.Log(err)
	}
}

func TestABIMismatch(t *testing.T) {
	p := vmmtest.Require(t)
	m, err := vmm.NewMachine(p, vmm.Config{RAMBytes: testRAM, ImageBytes: testImage})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	boot := func() error { return m.ColdBoot(vmm.BootConfig{Args: []string{"x"}}) }
	if err := boot(); !errors.Is(err, vmm.ErrABI) {
		t.Errorf("booted without a kernel library: %v", err)
	}
	code, err := os.ReadFile("testdata/guest.bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{guest.EntriesMagicOffset, guest.EntriesABIVersion, guest.EntriesBoot + 3, guest.EntriesKernelEnd + 3} {
		bad := slices.Clone(code)
		bad[off] ^= 0x40
		if err := m.Memory().Write(guest.KernelGPA, bad); err != nil {
			t.Fatal(err)
		}
		if err := boot(); !errors.Is(err, vmm.ErrABI) {
			t.Errorf("booted with byte %d of the entry table changed: %v", off, err)
		}
	}
	if err := m.Memory().Write(guest.KernelGPA, code); err != nil {
		t.Fatal(err)
	}
	for _, c := range []vmm.BootConfig{{}, {Args: []string{"a\x00b"}}, {Args: []string{string(make([]byte, guest.ArgsSize))}}} {
		if err := m.ColdBoot(c); err == nil {
			t.Errorf("booted with arguments %.20q", c.Args)
		}
	}
}

// TestDirtyTrackers checks every mechanism against a comparison of all memory.
func TestDirtyTrackers(t *testing.T) {
	for _, ring := range []uint32{0, 1024} {
		o := kvm.Options{DirtyRingEntries: ring}
		p := vmmtest.RequireKVMOptions(t, o)
		b := newBenchOn(t, p, true)
		track(t, b)
	}
}

func randomPages(r *rand.Rand) []uint64 {
	pages := make([]uint64, 1+r.IntN(60))
	for i := range pages {
		pages[i] = 0x500 + r.Uint64N(0x200)
	}
	return pages
}
