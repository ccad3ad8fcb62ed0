package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/bounds"
	"seuss/dispatcher/capacity"
	"seuss/dispatcher/chain"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/outbound"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/state/region"
	"seuss/dispatcher/tiers"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm/platform"
)

// Defaults of Options and Request.
const (
	DefaultTimeout  = bounds.DefaultTimeout
	DefaultPoolSize = 4 // machines kept per image
	// DefaultParkedBytes is Options.ParkedBytes where that is 0.
	DefaultParkedBytes = 1 << 30
	MaxEventBytes      = guest.EventBytes
	MaxResultBytes     = guest.ResultBytes
	loadTimeout        = 60 * time.Second // importing modules, or a function's code, for a snapshot
)

// Options configure a Dispatcher.
type Options struct {
	// StateDir holds images, nodes and functions; it is created.
	StateDir string
	// Platform runs the machines. The caller closes it after the Dispatcher.
	Platform platform.Platform
	// ReadOnly opens the state directory without its lock: nothing can be
	// captured or deployed, invocations work.
	ReadOnly bool
	// Verify says when pages of snapshots are compared with their checksums: all
	// when a node is loaded, each before it is first shown to a machine, or each when
	// a guest first touches it.
	Verify lineage.Verify
	// Prefetch says, with lineage.VerifyDemand, when the loading sets of nodes are
	// read.
	Prefetch Prefetch
	// PoolSize is how many machines there may be per image, DefaultPoolSize if 0.
	PoolSize int
	// PoolFloor is how many machines are kept however low the demand.
	PoolFloor int
	// PoolWindow is over which time the demand for machines is looked at; those
	// that it did not need are closed. 0: machines are kept until Close.
	PoolWindow time.Duration
	// PoolBytes bounds the private memory of all machines of an image, in bytes,
	// as far as it is known when a machine is made; 0: no bound.
	PoolBytes uint64
	// Instances is how many instances may be parked while they wait, so that others have
	// their machines; 0: as many as fit into ParkedBytes. At the limit they stay where they
	// are.
	Instances int
	// ParkedBytes bounds the memory of those that are parked, DefaultParkedBytes if 0.
	ParkedBytes uint64
	// StateBytes bounds the memory of what functions share, state.DefaultBytes if 0.
	StateBytes int64
	// PushedBytes bounds what of it is pushed, on the disk, pushed.DefaultBytes if 0.
	PushedBytes int64
	// Limits are those of the process that machines run into; nil: the host's.
	Limits *capacity.Limits
	// HotBytes bounds the memory of expanded nodes that are kept though no machine
	// stands at them: see lineage.Options.HotBytes.
	HotBytes uint64
	// HugePages puts images into huge pages where the host gives some, which pays for a
	// Dispatcher that makes many machines: see lineage.Options.HugePages.
	HugePages bool
	// NodeBytes is the budget of the nodes' files, to which they are brought back
	// every minute as by Collect; 0: no bound.
	NodeBytes uint64
	// TierBytes are budgets of the handler, of imports and of installed packages, each by
	// itself, to which they are brought back every minute.
	TierBytes tiers.Budgets
	// AutoArguments lets the dispatcher take argument snapshots by itself when
	// the same binding recurs and the state is pure.
	AutoArguments bool
	// Plans says how the plans are lived with that are applied in the state directory.
	Plans planner.Pace
	// VsockDir, if not empty, is a directory in which each running instance has a
	// Unix socket, named by its request with ".sock" behind it: host programs
	// reach the guest's ports there with the handshake "CONNECT <port>\n".
	VsockDir string
	// HostPorts are the vsock ports of the host (CID 2) that guests may connect
	// to; each leads to the Unix socket "host_<port>" in VsockDir.
	HostPorts []uint32
	// Network is what functions may reach beyond their machines; nil is nothing.
	Network *outbound.Network
	// FunctionTimeout, FunctionMemoryMiB and FunctionOutputBytes are the most that a
	// function's settings may allow its invocations; 0: no bound but the general ones.
	FunctionTimeout     time.Duration
	FunctionMemoryMiB   int
	FunctionOutputBytes int
	// ForOthers: what is deployed will be served by other processes, with bounds of their
	// own; it is not held against those of this one. Instances that they keep are left as they
	// are, nodes included, and none is kept here.
	ForOthers bool
	// Slots is how many invocations run at a time, as far as their caller knows: PoolSize
	// if 0. Each is sure of a share of Budgets.
	Slots int
	// Budgets bound what all functions take of the host for connections; nil: what suits
	// Slots.
	Budgets *outbound.Budgets
	// Regions is the memory that functions share; nil: with the usual limits. Whoever gives
	// it closes it.
	Regions *region.Host
	// Quota says what an owner may have; nil: whatever he wants.
	Quota func(owner string) access.Quota
	// RuntimeImages are the images of functions that ask for a runtime by one of AWS
	// Lambda's names, by that name; where there is none runtimes.Catalogue says which.
	RuntimeImages map[string]string
	// Log receives what the dispatcher has to say; nil means nowhere.
	Log *slog.Logger
	// Loaded, where it is not nil, is told of each time that a function's code was loaded
	// for a snapshot. It must not wait for anything.
	Loaded func(Loaded)
	// Progress is told about long steps, nil means nobody: what is being done,
	// and how much of it (0 to 1, negative if that is not known).
	Progress func(step string, fraction float64)
}

// Loaded is what loading a function's code has given, its warm-up included.
type Loaded struct {
	Function *functions.Function // not to be changed
	Logs     []LogLine
	LogsCut  bool
	Err      error // why there is no snapshot
}

// StartPath says where an invocation started.
type StartPath string

// The start paths, from the slowest to the fastest.
const (
	PathCold     StartPath = "cold"     // booted from the image
	PathBase     StartPath = "base"     // base or import node, then the code was loaded
	PathFunction StartPath = "function" // function node
	PathArgument StartPath = "argument" // argument node
)

// FunctionSpec is a function to deploy.
type FunctionSpec struct {
	Name    string            `json:"name"`              // 1 to 64 of A-Z a-z 0-9 _ -
	Handler string            `json:"handler"`           // module.function
	Files   map[string][]byte `json:"files"`             // by path relative to the task root; at most functions.MaxCodeBytes in all
	Image   string            `json:"image,omitempty"`   // image name; "" means RuntimeImage of Settings.Runtime
	Imports []string          `json:"imports,omitempty"` // modules that an import node below the base should hold
	Lazy    bool              `json:"lazy,omitempty"`    // the event's keys are asked for one by one
	// WarmUp are events on which the function is invoked before its node is
	// captured, so that what is done lazily at first use is in the snapshot.
	WarmUp   []json.RawMessage  `json:"warm_up,omitempty"`
	Settings functions.Settings `json:"settings,omitzero"`
	// Snapshot is an instance's checkpoint, by id, the beginning of one, or tag, that the
	// function is to be: there are no Files, Image and Imports then, and Handler is that of
	// the instance's function, or what code has defined in it.
	Snapshot string `json:"snapshot,omitempty"`
	Create   bool   `json:"create,omitempty"`   // fail with ErrExists if there is a function of that name
	Revision string `json:"revision,omitempty"` // if not empty: fail with ErrRevision unless it is the function's
}

// Request is one invocation.
type Request struct {
	// Function is a function's name; a colon and a version's number, an alias or
	// $LATEST may follow it.
	Function string
	Event    []byte        // JSON; a lazy function needs an object
	Timeout  time.Duration // at most the deployment's, and a day; 0: the deployment's, or else DefaultTimeout
	// Deployment is what Lookup has found for Function, so that it need not be looked up
	// again; nil: it was not.
	Deployment *Deployment
	// RequestID names the invocation; a new UUID if empty.
	RequestID string
	// Exchange, where it is not nil, converses with a function that takes connections (its
	// contract has a port), in place of Event. Any other function is refused.
	Exchange contracts.Exchange
	// Stream, where it is not nil, is given the answer as it comes where the function's
	// contract can say so and the function streams; the result has no Output then. If it
	// has an Error, what came is not all.
	Stream contracts.Stream
	// ARN is what the function's context calls the function that was invoked; ""
	// makes one up. ClientContext is a JSON value for the context, or nothing.
	ARN           string
	ClientContext []byte
	// MaxPath limits how deep the invocation may start; "" means no limit.
	// PathCold boots a machine for this invocation alone.
	MaxPath StartPath
	// AutoArguments is Options.AutoArguments for this invocation.
	AutoArguments bool
	// Explain asks for the candidates in the result.
	Explain bool
	// Memory asks for what the run did to its machine's memory: PagesDirtied, Faults,
	// PrivateBytes and SharedBytes. Finding out delays the result.
	Memory bool
	// Fresh keeps the invocation off pooled machines: a new machine is made for
	// it. It shows what a pool saves.
	Fresh bool
	// Progress, where it is not nil, is told how far the invocation is, and may kill it:
	// what it has then is an error of its own in its result.
	Progress *inflight.Progress
	// Turn, where it is not nil, is the slot that the invocation has, and does without while
	// it is parked.
	Turn Turn
	// Link is where the invocation stands in a chain; nil: nobody's function has called it.
	Link *chain.Link
	// Deadline is when it has to be over, if that is before what Timeout says; zero: never.
	Deadline time.Time
	// Began, where it is not nil, is called when there is a machine for it.
	Began func()
	// Context, where it is not nil, is asked for the context of what the function calls:
	// whoever traces the invocation has it there.
	Context func() context.Context
	// Deliver, where it is not nil, is given the result as soon as there is one, by
	// Invoke's goroutine; Invoke returns the same later. It reports whether Invoke is
	// to reset the machine itself before that. Else, and without Deliver, that is
	// another goroutine's work unless somebody wants the machine before; having that
	// goroutine woken delays Invoke. It is not called where Invoke returns an error.
	Deliver func(*Result) (reset bool)
	// OnReset, where it is not nil, is told of the reset that follows the
	// invocation, once, usually after the result is out and from another goroutine
	// (but see Deliver). It is not called where none follows: the machine is the
	// invocation's own, or is thrown away, or the next invocation takes it as it is.
	OnReset func(Reset)
}

// Check refuses what no invocation may ask for. The error matches lineage.ErrInvalid.
func (r *Request) Check() error {
	switch r.MaxPath {
	case "", PathCold, PathBase, PathFunction, PathArgument:
	default:
		return fmt.Errorf("from %q: want cold, base, function or argument: %w", r.MaxPath, lineage.ErrInvalid)
	}
	return bounds.CheckTime(r.Timeout)
}

// Reset is the way of a machine that has run back to its node.
type Reset struct {
	Began       time.Time
	Took        time.Duration
	PagesCopied uint64 // written back
	PagesMapped uint64 // mapped anew
}

// What an instance says of itself.
type (
	// FunctionError is the function's own failure, in AWS Lambda's form. It wraps
	// ErrTimeout, ErrGuestExit or a *CrashError where the instance did not survive.
	FunctionError = instance.HandlerError
	// CrashError is the death of a guest.
	CrashError = instance.CrashError
	// LogLine is console output of an invocation.
	LogLine = instance.LogLine
	// Prefetch says what becomes of a loading set.
	Prefetch = instance.Prefetch
)

// See the package instance.
const (
	PrefetchBeside = instance.PrefetchBeside
	PrefetchFirst  = instance.PrefetchFirst
	PrefetchNone   = instance.PrefetchNone
)

// How an instance ends other than with an answer: see the package instance.
var (
	ErrTimeout   = instance.ErrTimeout
	ErrMemory    = instance.ErrMemory
	ErrKilled    = instance.ErrKilled
	ErrGuestExit = instance.ErrGuestExit
	ErrCPU       = instance.ErrCPU
	ErrNoMachine = instance.ErrNoMachine
)

// Timings are the phases of one invocation. They do not overlap.
type Timings struct {
	Match   time.Duration `json:"match_ns"`  // choosing the node
	Machine time.Duration `json:"shell_ns"`  // getting a machine, creating one if none was free
	Deploy  time.Duration `json:"deploy_ns"` // bringing its memory and registers to the node
	Load    time.Duration `json:"load_ns"`   // base path: importing the code
	Run     time.Duration `json:"run_ns"`    // the handler, from event in to result out
	Total   time.Duration `json:"total_ns"`  // without what Request.Memory costs
}

// Result is what an invocation gave.
type Result struct {
	RequestID string          `json:"request_id"`
	Version   string          `json:"version,omitempty"` // that was executed; "" is $LATEST
	Output    json.RawMessage `json:"output,omitempty"`
	Error     *FunctionError  `json:"error,omitempty"` // the function failed; Output is empty
	Logs      []LogLine       `json:"logs,omitempty"`
	LogsCut   bool            `json:"logs_cut,omitempty"` // output beyond the limit was dropped
	Crash     string          `json:"crash,omitempty"`    // the crash report, if the guest died

	Platform string    `json:"platform"` // that ran it
	Contract string    `json:"contract"` // over which it was asked: see package contracts
	Path     StartPath `json:"path"`
	Pooled   bool      `json:"pooled"` // the machine stood ready on the node
	NodeID   string    `json:"node"`
	Timings  Timings   `json:"timings"`
	// PagesCopied and PagesMapped say what deploying moved.
	PagesCopied uint64 `json:"pages_copied"`
	PagesMapped uint64 `json:"pages_mapped"`
	// PagesDirtied is how many of the machine's pages are private to it after the
	// run. 0 unless Request.Memory asks, or the machine was made for the request.
	PagesDirtied uint64 `json:"pages_dirtied"`
	// PrivateBytes and SharedBytes are what the instance takes of the host's memory
	// after the run, as the kernel counts it: pages of its own, and pages of snapshots
	// that others may have mapped too. Only if Request.Memory asks for them.
	PrivateBytes uint64 `json:"private_bytes,omitempty"`
	SharedBytes  uint64 `json:"shared_bytes,omitempty"`
	// PagesPagedIn is how many pages had to be brought from the disk on demand.
	PagesPagedIn uint64 `json:"pages_paged_in"`
	// Exits is how often the guest was left: a doorbell, an access to a device, an interrupt.
	Exits uint64 `json:"exits"`
	// Faults is how many host page faults the run took. As PagesDirtied.
	Faults uint64 `json:"faults"`
	// Unsupported names system calls that the guest refused with ENOSYS.
	Unsupported map[string]uint32 `json:"unsupported_calls,omitempty"`
	// NetworkRefused are the addresses and names that the function asked for and that
	// Options.Network does not let it reach, with how often.
	NetworkRefused map[string]uint32 `json:"network_refused,omitempty"`
	Candidates     []Candidate       `json:"candidates,omitempty"`
	// Bounds is how far the instance could go, if Explain was asked for.
	Bounds *bounds.Summary `json:"bounds,omitempty"`
	// Captured lists argument nodes that the automatic policy made.
	Captured []string `json:"captured,omitempty"`
}

// Candidate is a node that an invocation might have started from.
type Candidate struct {
	NodeID string       `json:"node"`
	Kind   lineage.Kind `json:"kind"`
	Key    string       `json:"key"`
	Depth  int          `json:"depth"` // in the tree, the image node is 0
	Chosen bool         `json:"chosen"`
	Reason string       `json:"reason"` // why it was chosen or was not
	Prediction
}
