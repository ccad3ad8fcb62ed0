package vmm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"seuss/guest"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

// BootConfig says what a cold boot starts.
type BootConfig struct {
	// Args and Env are handed to the kernel library, which starts the program
	// with them. Neither may hold NUL bytes; together they may take
	// guest.ArgsSize bytes, terminators included.
	Args, Env []string
	// Dir is the working directory, a path of a directory in the image; "" is the root.
	Dir string
	// User is whom the program runs as.
	User User
	// Identity is what makes this instance itself.
	Identity Identity
}

// User are ids of a user and of groups; the zero value is root.
type User struct {
	UID, GID uint32
	Groups   []uint32 // further ones, at most guest.GroupsMax
}

// honours refuses what the kernel library in the image is too old for.
func (cfg *BootConfig) honours(e guest.Entries) error {
	for _, f := range []struct {
		what   string
		asked  bool
		needed uint32
	}{
		{"a working directory", cfg.Dir != "", guest.FeatureDirectory},
		{"a user other than root", cfg.User.UID != 0 || cfg.User.GID != 0 || len(cfg.User.Groups) > 0, guest.FeatureUser},
	} {
		if f.asked && e.Features&f.needed == 0 {
			return fmt.Errorf("%w: the kernel library in the image, which an earlier release built, knows nothing of %s: build the image anew", ErrABI, f.what)
		}
	}
	if len(cfg.User.Groups) > guest.GroupsMax {
		return fmt.Errorf("boot: %d groups, at most %d are possible", len(cfg.User.Groups), guest.GroupsMax)
	}
	return nil
}

// Control register bits, SDM vol. 3, 2.5, and EFER, 2.2.1.
const (
	cr0PE = 1 << 0
	cr0MP = 1 << 1
	cr0ET = 1 << 4
	cr0NE = 1 << 5
	cr0WP = 1 << 16
	cr0AM = 1 << 18
	cr0PG = 1 << 31

	cr4PAE        = 1 << 5
	cr4OSFXSR     = 1 << 9
	cr4OSXMMEXCPT = 1 << 10
	cr4FSGSBASE   = 1 << 16
	cr4OSXSAVE    = 1 << 18

	eferSCE = 1 << 0
	eferLME = 1 << 8
	eferLMA = 1 << 10
	eferNXE = 1 << 11
)

// What a cold boot puts into the MSRs FMASK, the flags that syscall clears (TF, IF,
// DF, AC), and STAR.
const (
	syscallFlags  = 0x40700
	starSelectors = guest.SelCode0<<32 | guest.SelData0<<48
)

// readEntries reads the kernel library's entry table and checks that the
// library speaks our version of the contract and that every entry lies in it.
func (m *Memory) readEntries() (guest.Entries, error) {
	var e guest.Entries
	if err := m.ReadStruct(guest.KernelGPA, &e); err != nil {
		return e, fmt.Errorf("read kernel library's entry table: %w", err)
	}
	if e.Magic != guest.EntriesMagic {
		return e, fmt.Errorf("%w: no kernel library at %#x (magic %#x, contract version %d expected)",
			ErrABI, guest.KernelGPA, e.Magic, guest.KernelVersion)
	}
	if e.ABIVersion != guest.KernelVersion {
		return e, fmt.Errorf("%w: the kernel library speaks version %d of the kernel contract, this monitor %d: build the image anew", ErrABI, e.ABIVersion, guest.KernelVersion)
	}
	if e.KernelEnd <= guest.KernelGPA || e.KernelEnd > guest.ProgramGPA {
		return e, fmt.Errorf("%w: kernel library ends at %#x, outside (%#x, %#x]", ErrABI, e.KernelEnd, guest.KernelGPA, guest.ProgramGPA)
	}
	if e.Data < guest.KernelGPA || e.Data > e.KernelEnd || e.Data%pageSize != 0 {
		return e, fmt.Errorf("%w: the kernel library's data begins at %#x, no page of [%#x, %#x]", ErrABI, e.Data, guest.KernelGPA, e.KernelEnd)
	}
	for _, entry := range []struct {
		name string
		at   uint64
		n    uint64
	}{{"boot", e.Boot, 1}, {"syscall", e.Syscall, 1}, {"exception", e.Exceptions, stubVectors * stubBytes}} {
		if entry.at < guest.KernelGPA || entry.at > e.KernelEnd || entry.n > e.KernelEnd-entry.at {
			return e, fmt.Errorf("%w: %s entry %#x outside the kernel library [%#x, %#x)", ErrABI, entry.name, entry.at, guest.KernelGPA, e.KernelEnd)
		}
	}
	return e, nil
}

// bootStrings joins the strings, each with its terminator.
func bootStrings(args, env []string, dir string) ([]byte, error) {
	if len(args) == 0 {
		return nil, errors.New("boot: no program: the argument list is empty")
	}
	var b bytes.Buffer
	lists := [][]string{args, env}
	if dir != "" {
		lists = append(lists, []string{dir})
	}
	for _, list := range lists {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return nil, fmt.Errorf("boot: argument or environment string %q holds a NUL byte", s)
			}
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
	if b.Len() > guest.ArgsSize {
		return nil, fmt.Errorf("boot: arguments and environment take %d bytes, room is %d", b.Len(), guest.ArgsSize)
	}
	return b.Bytes(), nil
}

// ColdBoot prepares the machine to start from its kernel library: boot
// information, page tables, descriptors, identity and registers. The caller
// has mapped the image and placed its extents (the kernel library among them)
// in memory. Nothing runs yet; Run does that.
func (m *Machine) ColdBoot(cfg BootConfig) error {
	if err := m.boot(cfg); err != nil {
		return fmt.Errorf("cold boot: %w", err)
	}
	return nil
}

func (m *Machine) boot(cfg BootConfig) error {
	if err := m.usable(); err != nil {
		return err
	}
	m.owed, m.regions = owed{}, nil
	entries, err := m.mem.readEntries()
	if err != nil {
		return err
	}
	if err := cfg.honours(entries); err != nil {
		return err
	}
	dirs := uint32(0)
	if cfg.Dir != "" {
		dirs = 1
	}
	text, err := bootStrings(cfg.Args, cfg.Env, cfg.Dir)
	if err != nil {
		return err
	}
	if err := m.mem.Write(guest.ArgsGPA, text); err != nil {
		return err
	}
	boot := guest.Boot{
		Magic: guest.BootMagic, ABIVersion: guest.KernelVersion,
		Argc: uint32(len(cfg.Args)), Envc: uint32(len(cfg.Env)), Dirc: dirs, XSaveMask: m.cpu.XCR0,
		RAMBytes: m.mem.RAMBytes(), ImageGPA: uint64(m.mem.ImageGPA()), ImageBytes: m.mem.ImageBytes(),
		TablesGPA: uint64(pageTables{m.mem}.start()),
		UID:       cfg.User.UID, GID: cfg.User.GID, Groupc: uint32(len(cfg.User.Groups)),
	}
	copy(boot.Groups[:], cfg.User.Groups)
	if err := m.mem.WriteStruct(guest.BootGPA, boot); err != nil {
		return err
	}
	if err := m.mem.WriteStruct(guest.ControlGPA, guest.Control{}); err != nil {
		return err
	}
	if err := m.claimControl(); err != nil {
		return err
	}
	if err := m.mem.WriteStruct(guest.GuardsGPA, guest.Guards{}); err != nil {
		return err
	}
	if err := (pageTables{m.mem}).write(GPA(entries.Data)); err != nil {
		return err
	}
	if err := (descriptors{m.mem}).write(m.cpu.CPL, entries.Exceptions); err != nil {
		return err
	}
	m.trusted = trusted{kernelEnd: entries.KernelEnd}
	m.resetDevices()
	m.clock.rebase(0)
	if err := m.WriteIdentity(cfg.Identity); err != nil {
		return err
	}
	return m.setBootState(entries)
}

// setBootState gives the vCPU the state in which the kernel library starts:
// 64-bit mode with paging, at the platform's level, all registers zero.
func (m *Machine) setBootState(e guest.Entries) error {
	s := m.cold.Clone()
	s.Regs = platform.Regs{RIP: e.Boot, RFLAGS: 2}
	s.Special.CR0 = cr0PG | cr0AM | cr0WP | cr0NE | cr0ET | cr0MP | cr0PE
	s.Special.CR2, s.Special.CR3 = 0, guest.PML4GPA
	s.Special.CR4 = cr4PAE | cr4OSFXSR | cr4OSXMMEXCPT | cr4OSXSAVE
	if m.cpu.FSGSBASE {
		s.Special.CR4 |= cr4FSGSBASE
	}
	s.Special.EFER = eferSCE | eferLME | eferLMA | eferNXE
	code := platform.Segment{Limit: 0xffffffff, Selector: guest.SelCode0, Type: 11, Present: 1, S: 1, L: 1, G: 1}
	data := platform.Segment{Limit: 0xffffffff, Selector: guest.SelData0, Type: 3, Present: 1, S: 1, DB: 1, G: 1}
	if m.cpu.CPL == 3 {
		code.Selector, code.DPL = guest.SelCode3, 3
		data.Selector, data.DPL = guest.SelData3, 3
	}
	r := &s.Special
	r.CS, r.SS, r.DS, r.ES, r.FS, r.GS = code, data, data, data, data, data
	r.TR = platform.Segment{Base: guest.TSSGPA, Limit: tssBytes - 1, Selector: guest.SelTSS, Type: 11, Present: 1}
	r.LDT = platform.Segment{Unusable: 1}
	r.GDT = platform.Table{Base: guest.GDTGPA, Limit: gdtBytes - 1}
	r.IDT = platform.Table{Base: guest.IDTGPA, Limit: idtVectors*gateBytes - 1}
	s.XCR0 = m.cpu.XCR0
	for i := range s.MSRs {
		switch s.MSRs[i].Index {
		case x86.MSRSTAR:
			s.MSRs[i].Value = starSelectors
		case x86.MSRLSTAR:
			s.MSRs[i].Value = e.Syscall
		case x86.MSRFMASK:
			s.MSRs[i].Value = syscallFlags
		}
	}
	if err := m.vcpu.SetState(&s); err != nil {
		return err
	}
	m.quiescent = false
	return nil
}
