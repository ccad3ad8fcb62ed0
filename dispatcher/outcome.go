package dispatcher

import (
	"errors"
	"fmt"
	"time"

	"seuss/guest"
)

// What comes of an invocation when its run has ended: the result, and the machine.

// handOver delivers the result and returns the shell.
func (i *invocation) handOver(l *lease, err error) {
	i.gather(l, err)
	if i.deliver != nil {
		if r, failed := i.finish(err); failed == nil {
			i.reset = i.deliver(r)
		}
	}
	i.giveBack(l, err)
}

// gather takes what is left to know from the shell.
func (i *invocation) gather(l *lease, err error) {
	r := i.result
	r.Logs = append(r.Logs, l.logs.take()...)
	r.LogsCut = l.m.Stats().ConsoleDropped > 0
	if calls, cerr := l.m.UnsupportedCalls(); cerr == nil && len(calls) > 0 {
		r.Unsupported = nameCalls(calls, i.start.unsupported())
	}
	if i.memory || l.pool == nil { // else it is found out before the machine is reset
		i.measure(l)
	}
	_, paged := l.m.Memory().PagingStats()
	r.PagesPagedIn, l.paged = paged-l.paged, paged
}

// giveBack returns the shell.
func (i *invocation) giveBack(l *lease, err error) {
	var crash *CrashError
	if errors.As(err, &crash) || errors.Is(err, ErrMemory) {
		l.destroy(i.d) // a reset would do; but a crash may be the machine's fault
		return
	}
	l.release(i.d, i.reset)
}

// measure takes the figures that cost a request time, which Total leaves out.
func (i *invocation) measure(l *lease) {
	r := i.result
	r.Timings.Total = time.Since(i.started)
	if err := l.collect(); err != nil {
		i.d.log.Warn("private pages unknown", "error", err)
	}
	r.Faults, r.PagesDirtied = l.faults-l.before, l.layout.private.Len()
	l.account()
	if !i.memory {
		return
	}
	if resident, err := l.m.Memory().Resident(); err == nil {
		r.PrivateBytes, r.SharedBytes = resident.Private, resident.Shared
	}
}

// nameCalls names the unsupported system calls that were made since before.
func nameCalls(counts, before map[int]uint32) map[string]uint32 {
	named := map[string]uint32{}
	for number, n := range counts {
		if n > before[number] {
			named[guest.SyscallName(number)] = n - before[number]
		}
	}
	return named
}

// finish turns what the function did wrong into the result's error, in
// Lambda's words; other errors are the host's.
func (i *invocation) finish(err error) (*Result, error) {
	if !i.finished {
		i.finished, i.err = true, i.conclude(err)
	}
	if i.err != nil {
		return nil, i.err
	}
	return i.result, nil
}

// conclude is finish's work, and returns what is the host's error.
func (i *invocation) conclude(err error) error {
	r := i.result
	if r.Timings.Total == 0 {
		r.Timings.Total = time.Since(i.started)
	}
	var failed *FunctionError
	var crash *CrashError
	switch {
	case err == nil:
	case errors.As(err, &failed):
		r.Error = failed
	case errors.Is(err, ErrTimeout):
		i.d.events.timeouts.Add(1)
		r.Error = &FunctionError{Type: "Sandbox.Timedout", cause: err,
			Message: fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", r.RequestID, i.deadline.Sub(i.started).Seconds())}
	case errors.Is(err, ErrMemory):
		i.d.events.outOfMemory.Add(1)
		r.Error = &FunctionError{Type: "Runtime.OutOfMemory", cause: err, Message: fmt.Sprintf("RequestId: %s Error: Runtime exited with error: signal: killed", r.RequestID)}
	case errors.Is(err, ErrGuestExit):
		r.Error = &FunctionError{Type: "Runtime.ExitError", cause: err, Message: fmt.Sprintf("RequestId: %s Error: %v", r.RequestID, err)}
	case errors.Is(err, errProtocol), errors.Is(err, errStream):
		r.Error = &FunctionError{Type: "Runtime.ExitError", cause: err, Message: fmt.Sprintf("RequestId: %s Error: %v", r.RequestID, err)}
	case errors.As(err, &crash):
		i.d.events.crashes.Add(1)
		r.Crash = crash.Report
		r.Error = &FunctionError{Type: "Runtime.ExitError", cause: err, Message: fmt.Sprintf("RequestId: %s Error: %s", r.RequestID, crash.Summary)}
	default:
		return err
	}
	if r.Error != nil && r.Error.StackTrace == nil {
		r.Error.StackTrace = []string{}
	}
	return nil
}
