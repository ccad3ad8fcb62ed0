package vmm

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"seuss/guest"
	"seuss/vmm/platform"
	"seuss/vmm/vsock"
)

// Config describes a machine.
type Config struct {
	// RAMBytes is the size of RAM, a multiple of 2 MiB.
	RAMBytes uint64
	// ImageBytes is the size of what is mapped of the root image, a multiple of the page size.
	ImageBytes uint64
	// Content is what guests read of the image where it is not mapped, by offset in the image; nil:
	// all of it is. ReadAt is called by the goroutine inside Run, for the guest, which waits.
	Content io.ReaderAt
	// Console receives the guest's output, nil drops it.
	Console ConsoleFunc
	// ConsoleLimit bounds the output of an invocation in bytes: 0 stands for
	// DefaultConsoleLimit.
	ConsoleLimit int
	// API answers what the guest's function asks of the host in one exit; nil: nobody does.
	API APIFunc
	// LogDirty asks the platform to track the guest's writes.
	LogDirty bool
}

// Machine is one guest: a VM of a platform with memory and devices. See the
// package comment for which methods may be called from where.
type Machine struct {
	platform platform.Platform
	cpu      platform.CPU
	vm       platform.VM
	vcpu     platform.VCPU
	mem      *Memory
	control  []byte // the control page, in guest memory
	cold     platform.CPUState
	trusted  trusted
	owed     owed
	regions  Regions // nil: the instance has none
	content  io.ReaderAt
	answer   APIFunc // nil: nobody answers the guest's function
	asked    apiCall
	clock    guestClock
	console  console
	vsock    *vsock.Device

	identities uint64 // times WriteIdentity has been called
	quiescent  bool   // stopped at the idle doorbell
	atIdle     bool   // the guest's last exit was its idle doorbell
	closed     bool

	running   atomic.Bool           // a goroutine is inside Run
	ticking   sync.Mutex            // the ticker, or Interrupt, looks at the machine
	gone      bool                  // closed; protected by ticking
	entries   atomic.Uint64         // guest entries and exits: odd while the guest runs
	deadline  atomic.Int64          // host deadline of the current Run, ns since processStart; 0 = none
	stopAsked atomic.Bool           // Interrupt was called
	missing   atomic.Pointer[error] // why a page that the guest waits for cannot be had
	wake      chan struct{}         // ends a sleep inside Run
	timer     *time.Timer
	tickSeen  uint64 // ticker's: entries at the last tick
	stats     Stats
}

// Stats counts what a machine has done since it was created.
type Stats struct {
	Entries        uint64 // times the guest was entered
	Doorbells      uint64
	MMIO           uint64 // device register accesses
	Kicks          uint64 // times the guest was interrupted
	Upcalls        uint64 // of those, redirected to the kernel library
	ContentBytes   uint64 // of the image's content that was read for it, as it is not mapped
	ConsoleBytes   int    // output of this invocation that was passed on
	ConsoleDropped uint64 // output of this invocation that was not
}

// NewMachine creates a VM with memory. What the guest boots from is put in
// place through Memory; then ColdBoot, or Restore and WriteIdentity, then
// Run.
func NewMachine(p platform.Platform, cfg Config) (*Machine, error) {
	m, err := newMachine(p, cfg)
	if err != nil {
		return nil, fmt.Errorf("new machine: %w", err)
	}
	return m, nil
}

func newMachine(p platform.Platform, cfg Config) (*Machine, error) {
	if cfg.ConsoleLimit < 0 {
		return nil, fmt.Errorf("console limit of %d bytes", cfg.ConsoleLimit)
	}
	if cfg.ConsoleLimit == 0 {
		cfg.ConsoleLimit = DefaultConsoleLimit
	}
	m := &Machine{platform: p, cpu: p.CPU(), content: cfg.Content, answer: cfg.API, wake: make(chan struct{}, 1)}
	if err := m.init(cfg); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Machine) init(cfg Config) error {
	var err error
	if m.vm, err = m.platform.NewVM(); err != nil {
		return err
	}
	m.vcpu = m.vm.VCPU()
	m.mem, err = newMemory(cfg.RAMBytes, cfg.ImageBytes, func(bytes uint64) (platform.Backing, error) {
		return m.vm.NewMemory(bytes, cfg.LogDirty)
	})
	if err != nil {
		return err
	}
	m.mem.backing.Paging().OnFailure(func(err error) {
		m.missing.Store(&err)
		m.vcpu.Kick()
	})
	if err := m.claimControl(); err != nil {
		return err
	}
	if m.clock, err = newGuestClock(m.cpu.TSCKHz, m.vcpu.TSCOffset()); err != nil {
		return err
	}
	if err := m.vcpu.State(&m.cold); err != nil {
		return err
	}
	m.console = console{mem: m.mem, fn: cfg.Console, limit: cfg.ConsoleLimit}
	m.vsock = vsock.New(m.mem, DefaultCID, m.Nudge)
	m.timer = time.NewTimer(time.Hour)
	m.timer.Stop()
	clockwork.add(m)
	return nil
}

// claimControl makes sure that the control page's window shows what the guest
// sees, after other memory was mapped there.
func (m *Machine) claimControl() (err error) {
	m.control, err = m.mem.Slice(guest.ControlGPA, guest.ControlSize)
	return err
}

// Settle makes sure that the guest has stopped, whatever it pretends. It must
// be called after Run before the machine's memory is made another instance's.
func (m *Machine) Settle() error {
	if err := m.usable(); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	if err := m.vcpu.Settle(); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return nil
}

// resetDevices puts the devices into the state after power-on.
func (m *Machine) resetDevices() {
	m.console.reset()
	m.console.taken = 0
	m.vsock.PowerOn()
	m.stopAsked.Store(false)
	m.vcpu.ClearKick()
}

// usable reports why the machine's state cannot be touched now.
func (m *Machine) usable() error {
	if m.closed {
		return fmt.Errorf("machine: %w", ErrClosed)
	}
	if m.running.Load() {
		return ErrBusy
	}
	return nil
}

// Memory returns the guest's memory.
func (m *Machine) Memory() *Memory { return m.mem }

// Vsock returns the machine's vsock device, through which the host talks to
// the guest.
func (m *Machine) Vsock() *vsock.Device { return m.vsock }

// VM returns the platform's machine, for what only that platform offers.
func (m *Machine) VM() platform.VM { return m.vm }

// Quiescent reports whether the machine rests at its idle doorbell: messages
// can be delivered to it and it can be captured.
func (m *Machine) Quiescent() bool { return m.quiescent && !m.running.Load() }

// Stats returns the machine's counters.
func (m *Machine) Stats() Stats {
	s := m.stats
	s.ConsoleBytes, s.ConsoleDropped = m.console.used, m.console.dropped
	return s
}

// HostFaults returns how many host page faults running the guest has caused. It may
// have to stop the guest's process and ask its kernel, so it belongs off the request
// path.
func (m *Machine) HostFaults() uint64 { return m.vcpu.Faults() }

// ResetConsole starts a new budget of console output, for the next invocation.
func (m *Machine) ResetConsole() { m.console.reset() }

// LimitConsole changes how many bytes of output an invocation may produce before the rest
// is dropped.
func (m *Machine) LimitConsole(bytes int) { m.console.limit = bytes }

// Registers returns the general registers as of the last exit.
func (m *Machine) Registers() platform.Regs {
	var r platform.Regs
	m.vcpu.Regs(&r)
	return r
}

// Purity returns the kernel library's count of outside input since boot. The
// guest can forge it; it describes well-meaning programs.
func (m *Machine) Purity() (guest.Purity, error) {
	var p guest.Purity
	err := m.mem.ReadStruct(guest.ControlGPA+guest.ControlPurity, &p)
	return p, err
}

// UnsupportedCalls returns how often the guest made each system call that the
// kernel library does not know, by number.
func (m *Machine) UnsupportedCalls() (map[int]uint32, error) {
	at := le64(m.control[guest.ControlENOSYSGPA:])
	if at == 0 {
		return nil, nil
	}
	table, err := m.mem.Slice(GPA(at), guest.Syscalls*4)
	if err != nil {
		return nil, fmt.Errorf("table of unsupported calls: %w", err)
	}
	calls := map[int]uint32{}
	for n := range guest.Syscalls {
		if count := le32(table[n*4:]); count != 0 {
			calls[n] = count
		}
	}
	return calls, nil
}

// Close destroys the machine and releases its memory. It must not be called
// while a goroutine is inside Run. Closing twice is not an error.
func (m *Machine) Close() error {
	if m.running.Load() {
		return fmt.Errorf("close machine: %w", ErrBusy)
	}
	if m.closed {
		return nil
	}
	m.closed = true
	m.ticking.Lock()
	m.gone = true
	m.ticking.Unlock()
	clockwork.remove(m)
	if m.vsock != nil {
		m.vsock.ShutDown()
	}
	var errs []error
	if m.vm != nil {
		errs = append(errs, m.vm.Close())
	}
	if m.mem != nil {
		errs = append(errs, m.mem.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close machine: %w", err)
	}
	return nil
}
