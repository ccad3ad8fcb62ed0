package platform

import "seuss/dirtytrack"

// Platform is a host facility that runs vCPUs. Its methods may be called from any
// goroutine.
type Platform interface {
	// Name identifies the facility and its flavour in reports and states,
	// such as "kvm" or "kvm-pvm".
	Name() string

	// Info describes the facility for a person who looks for a fault.
	Info() Info

	// Capabilities are what this platform can do that not every one can.
	Capabilities() Capabilities

	// CPU returns what guests on this platform see of the processor.
	CPU() CPU

	// NewVM creates a virtual machine with one vCPU and no memory.
	NewVM() (VM, error)

	// Close releases the facility. Machines must have been closed before.
	Close() error
}

// Capabilities are what a platform claims. The suite in package conformance holds it to
// that, and leaves out, by name, what it does not claim.
type Capabilities struct {
	// MachineCode: what runs is the code in the guest's memory, with its exceptions,
	// system calls and page tables. Else it is a stand-in for tests.
	MachineCode bool
	// ExtendedState: guests can use the extended state (SSE, AVX), and each has its own.
	ExtendedState bool
	// FarWindow: guests reach the far window (Backing.MapFar).
	FarWindow bool
	// PagesIn: a Pager's pages are filled when guests touch them, and not before.
	PagesIn bool
	// WriteTracking: VM.WriteTracker has one for memory that is logged.
	WriteTracking bool
	// ForeignData: a selector of the host's that guests can load into DS, ES, FS and GS,
	// besides those of their own table; 0 = none.
	ForeignData uint16
	// Machine is what each machine takes.
	Machine Needs
}

// Needs are what a machine takes, at most, of things of which the monitor's process, or its
// host, has a certain number.
type Needs struct {
	Mappings    int // of the process, besides those that show guest memory
	Descriptors int // of the process
	Tasks       int // processes and threads, one inside the guest included
	// MemoryHere: guest memory is mapped in the process, piece by piece.
	MemoryHere bool
}

// Info is what a platform reports about itself and its host.
type Info struct {
	Platform string
	Device   string   // path of the device that was opened
	Facts    []string // "name: value", in the order in which to print them
}

// CPU describes the virtual processor that a platform offers.
type CPU struct {
	// CPL is the privilege level (0 or 3) at which the whole guest runs.
	CPL uint8
	// FSGSBASE tells that the guest may use rdfsbase and its relatives.
	FSGSBASE bool
	// XCR0 holds the extended state components that the guest has enabled.
	XCR0 uint64
	// XSaveBytes is how many bytes XSAVE with all components requested may
	// write, standard format. It can be more than XCR0's components take.
	XSaveBytes uint32
	// TSCKHz is the frequency of the guest's time-stamp counter.
	TSCKHz uint64
	// Features identifies the processor for the snapshot check.
	Features CPUFeatures
}

// VM is one virtual machine of a platform.
type VM interface {
	// NewMemory gives the machine its memory, which lies at guest-physical 0.
	// It must be called once, before the vCPU is used, and the VM be closed
	// before the Backing. logDirty asks for the platform's own write tracking,
	// where it has one.
	NewMemory(bytes uint64, logDirty bool) (Backing, error)

	// VCPU returns the machine's vCPU.
	VCPU() VCPU

	// WriteTracker returns the platform's own tracking of the guest's writes. There is
	// one only where the memory is logged (NewMemory) and Capabilities say so, else an
	// error. It must be closed before the VM.
	WriteTracker() (dirtytrack.Tracker, error)

	// Process is the process in whose address space the guest runs, as /proc has it: the
	// monitor's own where it has none to itself.
	Process() int

	// Alive reports whether the machine can run: false once it has died by itself,
	// as a guest's process may. It may be called from any goroutine.
	Alive() bool

	// Close destroys the machine and its vCPU.
	Close() error
}

// VCPU is a virtual CPU. All methods but Kick are called by one goroutine at a
// time.
type VCPU interface {
	// Run enters the guest until something needs the monitor. It allocates
	// nothing. An error means that the vCPU could not be run at all; whatever
	// the guest does wrong is an Exit.
	Run() (Exit, error)

	// Kick makes the current Run, or else the next one, return
	// ExitInterrupted. It may be called from any goroutine. Kicks do not add up.
	Kick()

	// ClearKick forgets a kick that no Run has returned for.
	ClearKick()

	// CompleteRead supplies the value of the MMIO read that the last Run
	// returned. It must be called before the next Run.
	CompleteRead(value uint64)

	// Settle makes sure that the guest has stopped, whatever it pretends, and
	// stays so until the next Run. It must be called before its memory is made
	// another instance's.
	Settle() error

	// GuestCalls are what a guest may call.
	GuestCalls() GuestCalls

	// Regs copies the general registers as of the last exit.
	Regs(into *Regs)

	// Faults counts the host page faults that running the guest has caused. If
	// it stands still over a Run, no page became private in it.
	Faults() uint64
	// FaultAddress returns CR2 as of the last exit: the address of the guest's
	// last page fault, which a guest at CPL 3 cannot read by itself.
	FaultAddress() (uint64, error)
	// SetRegs replaces the general registers with the next Run.
	SetRegs(*Regs)

	// EventPending reports whether at the last exit an exception or interrupt
	// was on its way to the guest. RIP must not be changed then.
	EventPending() bool

	// State completes a pending MMIO access and reads the whole vCPU. It
	// reuses the slices of into.
	State(into *CPUState) error

	// SetState replaces the whole vCPU, whatever the guest did at whatever privilege
	// level: what no state names is as it was after power-on. What the guest had
	// begun and not ended, such as an MMIO access, comes to nothing. A state that the
	// processor cannot have may be refused by the next Run only.
	SetState(*CPUState) error

	// TSCOffset is what must be added to the host's time-stamp counter to get
	// the guest's.
	TSCOffset() int64
}

// GuestCalls are addresses that a guest may call in place of instructions, 0
// where it must use the instructions; see struct abi_identity in guest/abi/kernel.h.
type GuestCalls struct {
	DeviceStore uint64
	SetBase     uint64
	// Protect: no processor reads the guest's page tables, so it must tell of
	// entries that allow less.
	Protect bool
}
