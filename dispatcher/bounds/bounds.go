// Package bounds says how far the instances of a function may go: what they may reach
// beyond their machines, and what they may use. A deployment sets bounds of its own
// (functions.Settings); those of the daemon (Outer) lie around them, and what counts is
// what both allow.
//
// A deployment that asks for more than the daemon allows is refused by name. The
// daemon's bounds may be narrower when it is started again: a deployment of before then
// has what both allow, and Exceeds tells what it lacks.
//
// Units: memory in MiB, output in bytes, as in the settings.
//
// It keeps no state and has no locks. A Function does not change.
package bounds

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/outbound"
	"seuss/dispatcher/state"
	"seuss/lineage"
)

// ErrBeyond: a deployment asks for more than the daemon allows any function.
var ErrBeyond = errors.New("the daemon does not allow it")

// Limits of what a deployment may ask for, whoever serves it.
const (
	MaxEntries     = 256     // of a list, of the network's or of host ports
	MaxOutputBytes = 1 << 20 // of console output that is kept of an instance
)

// MaxTimeout is the most that an invocation may take, whoever asks; Lambda's API takes 900 s.
const MaxTimeout = 24 * time.Hour

// DefaultTimeout is how long an invocation may take where nobody says.
const DefaultTimeout = 30 * time.Second

// Outer are the bounds of all functions.
type Outer struct {
	Network     *outbound.Network // nil: nothing is reached
	HostPorts   []uint32
	Timeout     time.Duration // 0: MaxTimeout
	MemoryMiB   int           // 0: an image's
	OutputBytes int           // 0: MaxOutputBytes
	// Others: it is other processes that will serve what is deployed here, and their
	// bounds are not known: nothing is refused.
	Others bool
}

// Function are the bounds that count for a function's instances; its zero value has
// none.
type Function struct {
	Within      *outbound.Policy // the function's own list, for outbound.Network.Open
	MemoryMiB   int              // 0: the image's
	OutputBytes int              // 0: MaxOutputBytes

	timeout time.Duration // the longest that an invocation may take; 0: MaxTimeout
	usual   time.Duration // where it asks for no time; 0: DefaultTimeout
	listed  bool          // of the daemon's host ports these only
	ports   []uint32
}

// Of returns the bounds that count for a function with these settings. The error
// matches lineage.ErrInvalid: a list cannot be read.
func (o *Outer) Of(s *functions.Settings) (Function, error) {
	within, err := parse(s.Network)
	if err != nil {
		return Function{}, err
	}
	own := time.Duration(s.TimeoutSec) * time.Second
	return Function{
		Within: within, MemoryMiB: least(s.MemoryMiB, o.MemoryMiB), OutputBytes: least(s.OutputBytes, o.OutputBytes),
		timeout: least(own, o.Timeout), usual: least(cmp.Or(own, DefaultTimeout), o.Timeout), listed: s.HostPorts != nil, ports: s.HostPorts,
	}, nil
}

// Time is how long an invocation may take that asks for so long; 0: it does not ask.
func (f *Function) Time(asked time.Duration) time.Duration {
	if asked <= 0 {
		return cmp.Or(f.usual, DefaultTimeout)
	}
	return min(least(asked, f.timeout), MaxTimeout)
}

// CheckTime refuses a time that no invocation may ask for; 0: it does not ask. The error
// matches lineage.ErrInvalid.
func CheckTime(asked time.Duration) error {
	if asked < 0 || asked > MaxTimeout {
		return fmt.Errorf("a timeout of %v is not 0 to %v: %w", asked, MaxTimeout, lineage.ErrInvalid)
	}
	return nil
}

// least is the smaller of two bounds, of which 0 is none.
func least[T cmp.Ordered](a, b T) T {
	var none T
	if a == none || b != none && b < a {
		return b
	}
	return a
}

// parse reads a deployment's list.
func parse(entries []string) (*outbound.Policy, error) {
	if len(entries) > MaxEntries {
		return nil, fmt.Errorf("the network list has %d entries, at most %d are allowed: %w", len(entries), MaxEntries, lineage.ErrInvalid)
	}
	p, err := outbound.Parse(entries)
	if err != nil {
		return nil, fmt.Errorf("network %w: %w", err, lineage.ErrInvalid)
	}
	if p == nil && entries != nil {
		p = outbound.Nothing
	}
	return p, nil
}

// HostPort reports whether instances may connect to one of the daemon's host ports.
func (f *Function) HostPort(port uint32) bool { return !f.listed || slices.Contains(f.ports, port) }

// Possible refuses settings that cannot be, whoever serves them: the error says what, and
// matches lineage.ErrInvalid.
func Possible(s *functions.Settings) error {
	const maxTimeoutSec = int(MaxTimeout / time.Second)
	_, shares := state.ParseRights(s.Shares)
	_, calls := chain.ParseRights(s.Calls)
	switch {
	case len(s.HostPorts) > MaxEntries:
		return fmt.Errorf("%d host ports, at most %d are allowed: %w", len(s.HostPorts), MaxEntries, lineage.ErrInvalid)
	case s.TimeoutSec < 0 || s.TimeoutSec > maxTimeoutSec:
		return fmt.Errorf("a timeout of %d s is not 0 to %d: %w", s.TimeoutSec, maxTimeoutSec, lineage.ErrInvalid)
	case s.MemoryMiB < 0:
		return fmt.Errorf("a memory of %d MiB: %w", s.MemoryMiB, lineage.ErrInvalid)
	case s.Concurrency != nil && *s.Concurrency < 0:
		return fmt.Errorf("a concurrency of %d: %w", *s.Concurrency, lineage.ErrInvalid)
	case shares != nil:
		return fmt.Errorf("%w: %w", shares, lineage.ErrInvalid)
	case calls != nil:
		return fmt.Errorf("%w: %w", calls, lineage.ErrInvalid)
	case s.OutputBytes < 0 || s.OutputBytes > MaxOutputBytes:
		return fmt.Errorf("an output of %d bytes is not 0 to %d: %w", s.OutputBytes, MaxOutputBytes, lineage.ErrInvalid)
	}
	return nil
}

// Check is Possible, and refuses what is more than the daemon allows: that error matches
// ErrBeyond.
func (o *Outer) Check(s *functions.Settings) error {
	if err := Possible(s); err != nil {
		return err
	}
	over, err := o.Exceeds(s)
	if err != nil {
		return err
	}
	if len(over) > 0 {
		return fmt.Errorf("%w: %s", ErrBeyond, strings.Join(over, "; "))
	}
	return nil
}

// Exceeds says what settings ask for beyond what the daemon allows, each with what the
// daemon has to be started with.
func (o *Outer) Exceeds(s *functions.Settings) (over []string, err error) {
	within, err := parse(s.Network)
	if err != nil {
		return nil, err
	}
	if o.Others {
		return nil, nil
	}
	if entries := o.Network.Beyond(within); len(entries) > 0 {
		over = append(over, fmt.Sprintf("network %s (serve --allow-net)", strings.Join(entries, ", ")))
	}
	for _, port := range s.HostPorts {
		if !slices.Contains(o.HostPorts, port) {
			over = append(over, fmt.Sprintf("host port %d (serve --host-ports)", port))
		}
	}
	if own := time.Duration(s.TimeoutSec) * time.Second; o.Timeout > 0 && own > o.Timeout {
		over = append(over, fmt.Sprintf("a timeout of %v, the most is %v (serve --function-timeout)", own, o.Timeout))
	}
	if o.MemoryMiB > 0 && s.MemoryMiB > o.MemoryMiB {
		over = append(over, fmt.Sprintf("a memory of %d MiB, the most is %d (serve --function-memory)", s.MemoryMiB, o.MemoryMiB))
	}
	if o.OutputBytes > 0 && s.OutputBytes > o.OutputBytes {
		over = append(over, fmt.Sprintf("an output of %d bytes, the most is %d (serve --function-output)", s.OutputBytes, o.OutputBytes))
	}
	return over, nil
}

// Summary is what counts, for people and for the log.
type Summary struct {
	Network     []string `json:"network"`    // what may be reached; empty: nothing
	HostPorts   []uint32 `json:"host_ports"` // of the host; empty: none
	TimeoutMS   int64    `json:"timeout_ms"`
	MemoryMiB   int      `json:"memory_mib,omitempty"`
	OutputBytes int      `json:"output_bytes"`
	// Beyond is what the deployment asks for and the daemon does not allow any more.
	Beyond []string `json:"beyond,omitempty"`
}

// Summarize says what counts for a function with these settings.
func (o *Outer) Summarize(s *functions.Settings) (Summary, error) {
	f, err := o.Of(s)
	if err != nil {
		return Summary{}, err
	}
	beyond, err := o.Exceeds(s)
	if err != nil {
		return Summary{}, err
	}
	sum := Summary{Beyond: beyond, Network: []string{}, HostPorts: []uint32{}, TimeoutMS: f.Time(0).Milliseconds(), MemoryMiB: f.MemoryMiB, OutputBytes: cmp.Or(f.OutputBytes, MaxOutputBytes)}
	if lacks := o.Network.Beyond(f.Within); f.Within != nil {
		sum.Network = slices.DeleteFunc(append(sum.Network, f.Within.Entries()...), func(e string) bool { return slices.Contains(lacks, e) })
	} else if o.Network != nil {
		sum.Network = append(sum.Network, o.Network.Policy.Entries()...)
	}
	for _, port := range o.HostPorts {
		if f.HostPort(port) {
			sum.HostPorts = append(sum.HostPorts, port)
		}
	}
	return sum, nil
}
