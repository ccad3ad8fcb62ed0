package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"seuss/dispatcher/outbound"
	"seuss/guest"
	"seuss/images"
	"seuss/vmm"
	"seuss/vmm/platform"
)

// Program is a program of an image, to be run from its start to its end in a
// machine of its own, without a driver.
type Program struct {
	Image *images.Image // whose content the caller trusts; it stays the caller's
	// Args are the program's arguments; the first is its absolute path in the image.
	Args []string
	Env  []string
	Dir  string // working directory, a path of a directory in the image; "" = the root
	User vmm.User
	// MemoryBytes is guest RAM, a multiple of 2 MiB; 0 = what the image says.
	MemoryBytes uint64
	Timeout     time.Duration // 0 = none
	// Network is what the program may reach beyond its machine; nil is nothing.
	Network *outbound.Network
	// Output receives what the program writes: fd 1 or 2, 0 for the kernel
	// library's own messages. p is valid until it returns.
	Output func(fd uint16, p []byte)
}

// ProgramResult says how a program ended.
type ProgramResult struct {
	Status int // exit status, 0 to 255; with a Signal it is 0
	Signal int // that killed it; 0 = none
	Report string
	// Unsupported names system calls that the guest refused with ENOSYS.
	Unsupported map[string]uint32
	// NetworkRefused are the addresses and names that Network did not let it reach.
	NetworkRefused map[string]uint32
	// Machine is how long it took to make the machine, with the image in its memory, and
	// Booted is when the cold boot began then.
	Machine time.Duration
	Booted  time.Time
}

// RunProgram runs a program to its end. A machine that dies (a triple fault, a
// panic of the kernel library) is a *CrashError, a program that is killed is not.
func RunProgram(ctx context.Context, platform platform.Platform, p Program) (*ProgramResult, error) {
	if len(p.Args) == 0 {
		return nil, errors.New("run program: no program is named")
	}
	r, err := runProgram(ctx, platform, &p)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", p.Args[0], err)
	}
	return r, nil
}

func runProgram(ctx context.Context, platform platform.Platform, p *Program) (r *ProgramResult, err error) {
	if p.MemoryBytes == 0 {
		p.MemoryBytes = p.Image.Config().MemoryBytes
	}
	began := time.Now()
	var content io.ReaderAt
	if u, err := p.Image.Unmapped(); err != nil {
		return nil, err
	} else if u != nil {
		content = u
		defer func() { err = errors.Join(err, u.Close()) }()
	}
	m, err := vmm.NewMachine(platform, vmm.Config{
		RAMBytes: p.MemoryBytes, ImageBytes: p.Image.MappedBytes(), Content: content, Console: p.Output, ConsoleLimit: math.MaxInt,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := placeImage(m.Memory(), p.Image); err != nil {
		return nil, err
	}
	if _, err := placeProgram(m.Memory(), programRuns(p.Image.Extents()), imageContent(p.Image)); err != nil {
		return nil, err
	}
	booted := time.Now()
	if err := m.ColdBoot(vmm.BootConfig{Args: p.Args, Env: p.Env, Dir: p.Dir, User: p.User}); err != nil {
		return nil, err
	}
	way := p.Network.Open(p.Args[0], p.Args[0], outbound.NewBudgets(1))
	if err := m.Vsock().Listen(guest.NetPort, way.Accept); err != nil {
		return nil, err
	}
	var deadline time.Time
	if p.Timeout > 0 {
		deadline = time.Now().Add(p.Timeout)
	}
	interrupt, interrupted := interruption(m)
	over := context.AfterFunc(ctx, interrupt)
	stop, err := m.Run(vmm.RunOptions{Deadline: deadline, Wait: vmm.WaitEvents})
	if !over() {
		<-interrupted
	}
	refused := way.Close()
	if err != nil {
		return nil, err
	}
	calls, err := m.UnsupportedCalls()
	if err != nil {
		calls = nil // the guest has forged the table's address
	}
	r = &ProgramResult{Unsupported: nameCalls(calls, nil), NetworkRefused: refused, Machine: booted.Sub(began), Booted: booted}
	switch stop.Kind {
	case vmm.StopExit:
		r.Status = int(stop.Code & 0xff)
		return r, nil
	case vmm.StopFault:
		r.Signal, r.Report = int(stop.Code), m.CrashReport(stop, nil).String()
		return r, nil
	case vmm.StopTimeout:
		return nil, ErrTimeout
	case vmm.StopInterrupted:
		return nil, errInterrupted
	}
	report := m.CrashReport(stop, nil)
	return nil, &CrashError{Summary: report.Cause, Report: report.String()}
}
