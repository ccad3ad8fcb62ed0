package vmm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"seuss/guest"
	"seuss/vmm/platform"
	"seuss/vmm/vsock"
)

// trusted is what the monitor keeps about a guest outside of guest memory, so
// that the guest cannot change it once it is known.
type trusted struct {
	kernelEnd   uint64 // kernel library is [guest.KernelGPA, kernelEnd)
	upcallEntry uint64 // 0 until the kernel library has told
}

// State is everything of a quiescent machine but its memory. Its encoding is
// what a snapshot stores beside the pages.
type State struct {
	CPU platform.CPUState

	CPL         uint8  // level at which the guest runs
	RAMBytes    uint64 // shape of the memory
	ImageBytes  uint64
	KernelEnd   uint64 // kernel library is [guest.KernelGPA, KernelEnd)
	UpcallEntry uint64
	ConsoleTail uint64 // position in the console ring
	MonoNS      uint64 // guest's monotonic time at capture

	Vsock vsock.State

	newLevel bool // adapted: the gates in memory are another level's; not encoded
}

// Equal reports whether two states are the same in everything.
func (s *State) Equal(o *State) bool {
	return s.CPU.Equal(&o.CPU) && s.CPL == o.CPL && s.RAMBytes == o.RAMBytes && s.ImageBytes == o.ImageBytes &&
		s.KernelEnd == o.KernelEnd && s.UpcallEntry == o.UpcallEntry && s.ConsoleTail == o.ConsoleTail &&
		s.MonoNS == o.MonoNS && s.Vsock.Equal(&o.Vsock)
}

// The encoding: header, fixed part, MSRs, extended state, vsock state, in
// little-endian order without padding. A change of any of it is a new version.
const (
	stateMagic   = 0x54534d5653535553 // "SUSSVMST"
	stateVersion = 1

	stateHeaderBytes = 24
	msrBytes         = 16

	maxStateMSRs  = 256
	maxStateXSave = 64 << 10 // AMX needs 11 KiB
)

// StateVersion is the version of the encoded machine state that this program reads
// and writes.
const StateVersion = stateVersion

// stateHeader begins every encoded state.
type stateHeader struct {
	Magic      uint64
	Version    uint32
	ABIVersion uint32
	TotalBytes uint64
}

// stateFixed is the part of constant size.
type stateFixed struct {
	Regs    platform.Regs
	Special platform.SpecialRegs
	Debug   platform.DebugRegs
	Events  platform.Events
	XCR0    uint64
	MPState uint32
	CPL     uint32

	RAMBytes, ImageBytes, KernelEnd, UpcallEntry, ConsoleTail, MonoNS uint64

	MSRs       uint32 // entries that follow
	XSaveBytes uint32 // bytes that follow them
	VsockBytes uint32 // bytes that follow those
	Reserved   uint32
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (s *State) MarshalBinary() ([]byte, error) {
	device := s.Vsock.Append(nil)
	fixed := stateFixed{
		Regs: s.CPU.Regs, Special: s.CPU.Special, Debug: s.CPU.Debug, Events: s.CPU.Events,
		XCR0: s.CPU.XCR0, MPState: s.CPU.MPState, CPL: uint32(s.CPL),
		RAMBytes: s.RAMBytes, ImageBytes: s.ImageBytes, KernelEnd: s.KernelEnd, UpcallEntry: s.UpcallEntry,
		ConsoleTail: s.ConsoleTail, MonoNS: s.MonoNS,
		MSRs: uint32(len(s.CPU.MSRs)), XSaveBytes: uint32(len(s.CPU.XSave)), VsockBytes: uint32(len(device)),
	}
	header := stateHeader{Magic: stateMagic, Version: stateVersion, ABIVersion: guest.KernelVersion}
	header.TotalBytes = uint64(binary.Size(header) + binary.Size(fixed) + binary.Size(s.CPU.MSRs) + len(s.CPU.XSave) + len(device))
	out := make([]byte, 0, header.TotalBytes)
	for _, part := range []any{header, fixed, s.CPU.MSRs, s.CPU.XSave, device} {
		var err error
		if out, err = binary.Append(out, binary.LittleEndian, part); err != nil {
			return nil, fmt.Errorf("encode machine state: %T: %w", part, err)
		}
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("encode machine state: %w", err)
	}
	return out, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. Bytes that are not a
// valid state are refused with an error that wraps ErrState; s holds anything
// then. They are checked in the order magic, version, length, content.
func (s *State) UnmarshalBinary(data []byte) error {
	if err := s.decode(data); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

func (s *State) decode(data []byte) error {
	if len(data) < stateHeaderBytes {
		return fmt.Errorf("%d bytes are too short for a header", len(data))
	}
	le := binary.LittleEndian
	header := stateHeader{Magic: le.Uint64(data), Version: le.Uint32(data[8:]), ABIVersion: le.Uint32(data[12:]), TotalBytes: le.Uint64(data[16:])}
	switch {
	case header.Magic != stateMagic:
		return fmt.Errorf("magic %#x, expected %#x", header.Magic, uint64(stateMagic))
	case header.Version != stateVersion:
		return fmt.Errorf("format version %d, this build reads version %d", header.Version, stateVersion)
	case header.ABIVersion != guest.KernelVersion:
		return fmt.Errorf("host/guest contract version %d, this build speaks version %d", header.ABIVersion, guest.KernelVersion)
	case header.TotalBytes != uint64(len(data)):
		return fmt.Errorf("%d bytes, the header says %d", len(data), header.TotalBytes)
	}
	rest := data[stateHeaderBytes:]
	fixed := new(stateFixed)
	if len(rest) < stateFixedBytes {
		return fmt.Errorf("fixed part: %d of %d bytes", len(rest), stateFixedBytes)
	}
	rest = rest[copy(fixed.bytes(), rest):]
	if fixed.MSRs > maxStateMSRs || fixed.XSaveBytes > maxStateXSave ||
		fixed.CPL > 3 || fixed.Reserved != 0 {
		return fmt.Errorf("fixed part: %d MSRs, %d bytes of extended state, %d of vsock, CPL %d, reserved %d: out of range",
			fixed.MSRs, fixed.XSaveBytes, fixed.VsockBytes, fixed.CPL, fixed.Reserved)
	}
	allMSRs := int(fixed.MSRs) * msrBytes
	if want := allMSRs + int(fixed.XSaveBytes) + int(fixed.VsockBytes); want != len(rest) {
		return fmt.Errorf("variable part: %d bytes, its counts say %d", len(rest), want)
	}
	c := &s.CPU
	c.Regs, c.Special, c.Debug, c.Events = fixed.Regs, fixed.Special, fixed.Debug, fixed.Events
	c.XCR0, c.MPState, c.MSRs = fixed.XCR0, fixed.MPState, make([]platform.MSR, fixed.MSRs)
	s.CPL, s.RAMBytes, s.ImageBytes = uint8(fixed.CPL), fixed.RAMBytes, fixed.ImageBytes
	s.KernelEnd, s.UpcallEntry, s.ConsoleTail, s.MonoNS = fixed.KernelEnd, fixed.UpcallEntry, fixed.ConsoleTail, fixed.MonoNS
	for i := range s.CPU.MSRs {
		s.CPU.MSRs[i] = platform.MSR{Index: le.Uint32(rest[i*msrBytes:]), Reserved: le.Uint32(rest[i*msrBytes+4:]), Value: le.Uint64(rest[i*msrBytes+8:])}
	}
	s.CPU.XSave = bytes.Clone(rest[allMSRs : allMSRs+int(fixed.XSaveBytes)])
	if err := s.Vsock.Decode(rest[allMSRs+int(fixed.XSaveBytes):]); err != nil {
		return fmt.Errorf("vsock: %w", err)
	}
	return s.check()
}

// check validates what does not depend on a machine.
func (s *State) check() error {
	switch {
	case s.CPL != 0 && s.CPL != 3:
		return fmt.Errorf("CPL %d: must be 0 or 3", s.CPL)
	case s.KernelEnd <= guest.KernelGPA || s.KernelEnd > guest.ProgramGPA:
		return fmt.Errorf("kernel library ends at %#x, outside (%#x, %#x]", s.KernelEnd, guest.KernelGPA, guest.ProgramGPA)
	case s.UpcallEntry != 0 && (s.UpcallEntry < guest.KernelGPA || s.UpcallEntry >= s.KernelEnd):
		return fmt.Errorf("upcall entry %#x outside the kernel library [%#x, %#x)", s.UpcallEntry, guest.KernelGPA, s.KernelEnd)
	case !slices.IsSortedFunc(s.CPU.MSRs, func(a, b platform.MSR) int { return cmp.Compare(a.Index, b.Index) }):
		return errors.New("MSRs are not in order")
	}
	for i, m := range s.CPU.MSRs {
		if m.Reserved != 0 || i > 0 && s.CPU.MSRs[i-1].Index == m.Index {
			return fmt.Errorf("MSR %#x: given twice or with reserved bits", m.Index)
		}
	}
	return nil
}

// Capture reads the state of a machine that rests at its idle doorbell. The
// memory is the caller's to read, through Memory, while the machine rests.
func (m *Machine) Capture() (*State, error) {
	if err := m.usable(); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	if !m.quiescent {
		return nil, fmt.Errorf("capture: %w", ErrNotQuiescent)
	}
	// Anything still queued goes into the stream state, not into the rings,
	// so that capturing changes no memory.
	s := &State{}
	if err := m.read(s); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	m.vsock.Save(&s.Vsock)
	return s, nil
}

// read reads all of the state but the devices'.
func (m *Machine) read(s *State) error {
	m.learnUpcall()
	*s = State{CPL: m.cpu.CPL, RAMBytes: m.mem.RAMBytes(), ImageBytes: m.mem.ImageBytes(),
		KernelEnd: m.trusted.kernelEnd, UpcallEntry: m.trusted.upcallEntry, ConsoleTail: m.console.taken}
	err := m.vcpu.State(&s.CPU)
	s.MonoNS = m.clock.now()
	return err
}

// Restore gives the machine a captured state: all of it but for memory, which the
// caller has put in place before. Nothing is left of what the vCPU was, whatever an
// instance before did to it; the package comment of the platform says how. It takes
// several system calls and is meant for the time between requests. WriteIdentity
// must follow before Run.
func (m *Machine) Restore(s *State) error {
	if err := m.restore(s); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func (m *Machine) restore(s *State) error {
	if err := m.become(s, func() error { return m.vsock.Restore(&s.Vsock) }); err != nil {
		return err
	}
	m.console.reset()
	m.clock.stop(s.MonoNS)
	return nil
}

// become gives the machine a state, but for time and what console output it may still
// have; devices does so for the devices.
func (m *Machine) become(s *State, devices func() error) error {
	if err := m.usable(); err != nil {
		return err
	}
	if err := m.fits(s); err != nil {
		return err
	}
	m.quiescent, m.owed, m.regions = false, owed{}, nil
	m.missing.Store(nil)
	if err := m.claimControl(); err != nil {
		return err
	}
	if err := mapAllFar(m.mem, m.control); err != nil {
		return err
	}
	if s.newLevel {
		if err := (descriptors{m.mem}).setLevel(s.CPL); err != nil {
			return err
		}
	}
	if err := devices(); err != nil {
		return err
	}
	cpu := &s.CPU
	if len(cpu.MSRs) < len(m.cold.MSRs) { // of a platform that names fewer
		full := *cpu
		full.MSRs = withCold(cpu, &m.cold)
		cpu = &full
	}
	if err := m.vcpu.SetState(cpu); err != nil {
		return err
	}
	m.vcpu.ClearKick()
	m.stopAsked.Store(false)
	m.trusted = trusted{kernelEnd: s.KernelEnd, upcallEntry: s.UpcallEntry}
	m.console.taken = s.ConsoleTail
	m.quiescent, m.atIdle = true, true
	return nil
}

// fits checks that a state is of a machine like this one.
func (m *Machine) fits(s *State) error {
	switch {
	case s.CPL != m.cpu.CPL:
		return fmt.Errorf("%w: captured at CPL %d, this platform runs guests at CPL %d", platform.ErrStateMismatch, s.CPL, m.cpu.CPL)
	case s.RAMBytes != m.mem.RAMBytes() || s.ImageBytes != m.mem.ImageBytes():
		return fmt.Errorf("%w: captured with %d bytes of RAM and %d of image, this machine has %d and %d",
			platform.ErrStateMismatch, s.RAMBytes, s.ImageBytes, m.mem.RAMBytes(), m.mem.ImageBytes())
	case s.CPU.XCR0&^m.cpu.XCR0 != 0:
		return fmt.Errorf("%w: captured with XCR0 %#x, this CPU offers %#x", platform.ErrStateMismatch, s.CPU.XCR0, m.cpu.XCR0)
	}
	return nil
}
