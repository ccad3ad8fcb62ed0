package admission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/logs"
)

// What goes into the logs of functions. The answer has left by then.

func keyOf(f *functions.Function) logs.Key {
	return logs.Key{Function: functions.BaseName(f.Name), ID: f.ID}
}

// keep puts what an invocation printed, and what went wrong, into its function's log. That
// its client has gone is no fault of the function's.
func (c *Control) keep(ctx context.Context, t *dispatcher.Deployment, requestID string, r *dispatcher.Result, err error) {
	e := logs.Entry{Time: time.Now(), Kind: logs.Invocation, RequestID: requestID, Version: versionOf(t.Name)}
	switch {
	case err != nil && ctx.Err() != nil:
		return
	case err != nil:
		e.Note = "the service has failed: " + instance.Cut(err.Error(), maxErrorText)
	default:
		e.Lines, e.Cut, e.Error = linesOf(r.Logs), r.LogsCut, errorOf(r.Error)
	}
	c.o.Logs.Add(keyOf(&t.Function), e)
}

func versionOf(deployment string) string { return versionInLogs(dispatcher.VersionOf(deployment)) }

func versionInLogs(version string) string {
	if version == dispatcher.Latest {
		return ""
	}
	return version
}

// LogVersions returns for logs.Query the versions that a name of a function's stands for, and
// what failed events have in their place.
func LogVersions(f *functions.Function, name string) ([]string, error) {
	list, err := dispatcher.VersionsOf(f, name)
	for i := range list {
		list[i] = versionInLogs(list[i])
	}
	if list != nil {
		list = append(list, versionOf(name))
	}
	return list, err
}

func linesOf(printed []dispatcher.LogLine) []logs.Line {
	lines := make([]logs.Line, len(printed))
	for i, l := range printed {
		lines[i] = logs.Line(l)
	}
	return lines
}

func errorOf(e *dispatcher.FunctionError) *logs.Error {
	if e == nil {
		return nil
	}
	doc := &logs.Error{Type: e.Type, Message: e.Message, Trace: e.StackTrace}
	if e.Trace != nil {
		doc.Trace = e.Trace
	}
	return doc
}

// Loaded returns a function for dispatcher.Options.Loaded that puts what code prints and
// does wrong while it is loaded into the logs.
func Loaded(into Logs) func(dispatcher.Loaded) {
	return func(l dispatcher.Loaded) {
		if l.Err == nil && len(l.Logs) == 0 {
			return
		}
		e := logs.Entry{Time: time.Now(), Kind: logs.Init, Version: versionOf(l.Function.Name), Lines: linesOf(l.Logs), Cut: l.LogsCut}
		var failed *dispatcher.FunctionError
		if errors.As(l.Err, &failed) {
			e.Error = errorOf(failed)
		} else if l.Err != nil {
			e.Note = "the code was not loaded: " + instance.Cut(l.Err.Error(), maxErrorText)
		}
		into.Add(keyOf(l.Function), e)
	}
}

// EventFailed returns a function for events.Options.Failed that puts failures of events
// into the logs.
func EventFailed(into Logs) func(events.Failure) {
	return func(f events.Failure) {
		note := fmt.Sprintf("attempt %d of %d at the event failed; the next is in %v: ", f.Attempts, f.Of, f.Again)
		if f.Again == 0 {
			note = fmt.Sprintf("the event is given up after %d attempts: ", f.Attempts)
		}
		into.Add(logs.Key{Function: functions.BaseName(f.Event.Function), ID: f.Event.FunctionID},
			logs.Entry{Time: time.Now(), Kind: logs.Event, RequestID: f.Event.RequestID, Version: versionOf(f.Event.Function), Note: note + instance.Cut(f.Err.Error(), maxErrorText)})
	}
}
