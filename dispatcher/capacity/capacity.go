// Package capacity counts what machines take of things of which a process, or its host, has
// a certain number: mappings, descriptors, tasks. Whoever is at the end of one is refused
// with the number and its remedy, before the kernel refuses Go's runtime, which cannot go on
// then.
//
// Locks: none.
package capacity

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"seuss/dispatcher/instance"
	"seuss/vmm/platform"
)

// ErrFull is what refusals of a machine wrap.
var ErrFull = errors.New("no room for one machine more")

// MachinesPerCPU is how many machines of an image a daemon has by default for each CPU.
const MachinesPerCPU = 4

// What is left to the rest of the process, of each thing, unless half of it is less.
const (
	// Two of each node that is expanded in memory (4,096), of mappings and descriptors.
	reserveNodes = 2 * 4096
	// Beside them pages that are kept for more nodes, Go's runtime, and spareMappings.
	reserveMappings = reserveNodes + 2048 + 2048 + spareMappings
	// Beside them clients (4,096 on each of two listeners), and files and sockets.
	reserveDescriptors = reserveNodes + 2*4096 + 4096
	reserveTasks       = 512
	// spareMappings are for machines that can use more than they may in any case.
	spareMappings = 8192
	// keepRooms is how many machines pools leave to those who make a snapshot.
	keepRooms = 4
)

// thing is something of which there is a certain number.
type thing struct {
	What
	reserve, each int
}

// fits is how many machines there may be; less than 0: any number.
func (t *thing) fits() int {
	if t.Limit <= 0 || t.each == 0 {
		return -1
	}
	return max(t.Limit-min(t.reserve, t.Limit/2), 0) / t.each
}

// needed is the limit with which so many machines fit.
func (t *thing) needed(machines int) int {
	n := machines * t.each
	return n + min(t.reserve, n)
}

// Budget is what a process has for machines. Its methods may be called from any goroutine.
type Budget struct {
	things   []thing
	fits     int // machines
	machines atomic.Int64
	spare    atomic.Int64 // mappings that are left of spareMappings
}

// New makes a budget of machines that each take so much.
func New(l Limits, n platform.Needs) *Budget {
	if n.MemoryHere {
		n.Mappings += instance.MachineMappings
	}
	b := &Budget{things: []thing{
		{l.Mappings, reserveMappings, n.Mappings},
		{l.Descriptors, reserveDescriptors, n.Descriptors},
		{l.Tasks, reserveTasks, n.Tasks},
	}}
	b.fits = -1
	for i := range b.things {
		if n := b.things[i].fits(); n >= 0 && (b.fits < 0 || n < b.fits) {
			b.fits = n
		}
	}
	spare := spareMappings
	if limit := l.Mappings.Limit; limit > 0 {
		spare = min(spare, limit/8)
	}
	b.spare.Store(int64(spare))
	return b
}

// Fits is how many machines there may be for requests, -1 for any number.
func (b *Budget) Fits() int {
	if b.fits < 0 {
		return -1
	}
	return b.fits - min(keepRooms, b.fits/8)
}

// Machines is how many there are.
func (b *Budget) Machines() int { return int(b.machines.Load()) }

// Describe says what each limit has room for.
func (b *Budget) Describe() string {
	var facts []string
	for i := range b.things {
		if t := &b.things[i]; t.fits() >= 0 {
			facts = append(facts, fmt.Sprintf("%s (%d) for %d", t.Name, t.Limit, t.fits()))
		}
	}
	return strings.Join(facts, ", ")
}

// Check refuses a number of machines that does not fit.
func (b *Budget) Check(machines int) error {
	if fits := b.Fits(); fits < 0 || machines <= fits {
		return nil
	}
	return fmt.Errorf("%d machines do not fit, %d do: %w", machines, b.Fits(), b.narrow(machines+keepRooms))
}

// narrow names what keeps so many machines from fitting, each with its remedy.
func (b *Budget) narrow(machines int) error {
	var all []string
	for i := range b.things {
		if t := &b.things[i]; t.fits() >= 0 && t.fits() < machines {
			all = append(all, fmt.Sprintf("%s allows %d: %s", t.Name, t.Limit, t.Remedy(t.needed(machines))))
		}
	}
	return errors.New(strings.Join(all, "; "))
}

// Room reports whether a request may have one machine more.
func (b *Budget) Room() bool { return b.fits < 0 || b.Machines() < b.Fits() }

// Take sets aside what a machine takes. The error wraps ErrFull.
func (b *Budget) Take() error {
	if n := b.machines.Add(1); b.fits >= 0 && int(n) > b.fits {
		b.machines.Add(-1)
		return fmt.Errorf("%w: there are %d; %w", ErrFull, b.fits, b.narrow(b.fits+b.fits/2+1))
	}
	return nil
}

// Give gives that back.
func (b *Budget) Give() { b.machines.Add(-1) }

// TakeMappings sets mappings aside that a machine can use and need not have.
func (b *Budget) TakeMappings(n int) bool {
	if b.spare.Add(int64(-n)) >= 0 {
		return true
	}
	b.spare.Add(int64(n))
	return false
}

// GiveMappings gives them back.
func (b *Budget) GiveMappings(n int) { b.spare.Add(int64(n)) }

var _ instance.Room = (*Budget)(nil)
