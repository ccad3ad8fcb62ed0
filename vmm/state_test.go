package vmm_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest"
	"seuss/vmm/vmmtest/testguest"
)

// restWithRegisters lets the guest rest with known registers and captures it.
func restWithRegisters(t *testing.T) (*bench, *vmm.State, []byte) {
	b := newBench(t)
	b.needExtendedState()
	b.check(b.command(cmdRegisters), vmm.StopIdle)
	s := b.state()
	return b, s, bytes.Clone(b.Memory().Bytes())
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
	for _, off := range []int{guest.EntriesMagicOffset, guest.EntriesABIVersion, guest.EntriesBoot + 3, guest.EntriesKernelEnd + 3} {
		bad := slices.Clone(testguest.Binary)
		bad[off] ^= 0x40
		if err := m.Memory().Write(guest.KernelGPA, bad); err != nil {
			t.Fatal(err)
		}
		if err := boot(); !errors.Is(err, vmm.ErrABI) {
			t.Errorf("booted with byte %d of the entry table changed: %v", off, err)
		}
	}
	if err := m.Memory().Write(guest.KernelGPA, testguest.Binary); err != nil {
		t.Fatal(err)
	}
	// The test guest is as one of a release before users and working directories.
	for what, c := range map[string]vmm.BootConfig{"working directory": {Dir: "/x"}, "user": {User: vmm.User{GID: 5}}} {
		c.Args = []string{"x"}
		if err := m.ColdBoot(c); !errors.Is(err, vmm.ErrABI) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "build the image anew") {
			t.Errorf("booted an older kernel library with a %s: %v", what, err)
		}
	}
	for _, c := range []vmm.BootConfig{{}, {Args: []string{"a\x00b"}}, {Args: []string{string(make([]byte, guest.ArgsSize))}}} {
		if err := m.ColdBoot(c); err == nil {
			t.Errorf("booted with arguments %.20q", c.Args)
		}
	}
}
