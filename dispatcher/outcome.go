package dispatcher

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"seuss/dispatcher/instance"
)

// What comes of an invocation when its run has ended: the result, and the machine.

// conclude takes what there is to know from the instance when its run has ended in err,
// turns what the function did wrong into the result's error, in Lambda's words, and
// returns what is the host's error.
func (i *invocation) conclude(err error) error {
	start, r := i.Start(), i.result
	r.Path, r.Pooled, r.NodeID = PathOf(start.Node.Kind), i.Pooled, start.Node.ID
	r.PagesCopied, r.PagesMapped = i.Moved.Copied, i.Moved.Mapped
	r.Timings.Machine = i.waited
	if start.State != nil {
		r.Timings.Deploy = i.Restored
		start.Node.Hit()
	}
	i.Leave(nil)
	r.NetworkRefused = i.ways.close()
	told := i.Report()
	r.Logs, r.LogsCut = append(r.Logs, told.Logs...), told.LogsCut
	if most := i.f.bounds.OutputBytes; most > 0 {
		r.cutLogs(most)
	}
	r.Unsupported, r.PagesPagedIn = told.Unsupported, told.PagedIn
	r.Timings.Total = time.Since(i.started)
	if i.memory || i.pool == nil { // else it is found out before the machine is reset
		i.measure()
	}
	if i.progress.End() {
		err, r.Output = ErrKilled, nil // at whatever point that was
	}
	i.err = err
	if err == nil {
		return nil
	}
	var own *FunctionError
	var crash *CrashError
	switch {
	case errors.As(err, &own):
		r.Error = own
	case errors.Is(err, ErrTimeout):
		i.d.events.timeouts.Add(1)
		r.Error = &FunctionError{Type: "Sandbox.Timedout", Cause: err,
			Message: fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", r.RequestID, i.deadline.Sub(i.started).Seconds())}
	case errors.Is(err, ErrKilled):
		r.Error = &FunctionError{Type: "Sandbox.Killed", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: Task was killed after %.2f seconds", r.RequestID, r.Timings.Total.Seconds())}
	case errors.Is(err, ErrMemory):
		i.d.events.outOfMemory.Add(1)
		r.Error = &FunctionError{Type: "Runtime.OutOfMemory", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: Runtime exited with error: signal: killed", r.RequestID)}
	case errors.Is(err, ErrGuestExit):
		r.Error = &FunctionError{Type: "Runtime.ExitError", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: %v", r.RequestID, err)}
	case errors.Is(err, instance.ErrProtocol), errors.Is(err, instance.ErrStream):
		r.Error = &FunctionError{Type: "Runtime.ExitError", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: %v", r.RequestID, err)}
	case errors.As(err, &crash):
		i.d.events.crashes.Add(1)
		r.Crash = crash.Report
		r.Error = &FunctionError{Type: "Runtime.ExitError", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: %s", r.RequestID, crash.Summary)}
	default:
		return err
	}
	if r.Error != nil && r.Error.StackTrace == nil {
		r.Error.StackTrace = []string{}
	}
	return nil
}

// cutLogs drops the output beyond so many bytes.
func (r *Result) cutLogs(most int) {
	for n := range r.Logs {
		text := &r.Logs[n].Text
		if len(*text) > most {
			*text = strings.ToValidUTF8((*text)[:most], "")
			r.Logs, r.LogsCut = r.Logs[:n+1], true
			return
		}
		most -= len(*text)
	}
}

// measure takes the figures that cost a request time, which Total leaves out.
func (i *invocation) measure() {
	r := i.result
	var err error
	if r.Faults, r.PagesDirtied, err = i.Usage(); err != nil {
		i.d.log.Warn("private pages unknown", "error", err)
	}
	if !i.memory {
		return
	}
	if resident, err := i.Resident(); err == nil {
		r.PrivateBytes, r.SharedBytes = resident.Private, resident.Shared
	}
}
