package api

import (
	"errors"
	"net/http"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/bounds"
	"seuss/dispatcher/cluster"
	"seuss/dispatcher/cluster/members"
	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/cluster/replica"
	"seuss/dispatcher/engine"
	"seuss/dispatcher/functionapi"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/instances/archive"
	"seuss/dispatcher/layers"
	"seuss/dispatcher/quota"
	"seuss/dispatcher/sched"
	"seuss/dispatcher/state"
	"seuss/dispatcher/state/region"
	"seuss/images"
	"seuss/lineage"
	"seuss/lineage/oci"
)

// Exit codes of seussctl. What `seussctl run` gives for a program is the
// program's.
const (
	ExitOK       = 0
	ExitFailure  = 1
	ExitUsage    = 2 // wrong usage, a bad event included
	ExitFunction = 3 // the function itself failed
)

// StatusClientGone is what nginx logs for a client that has hung up: nobody reads
// it but the log.
const StatusClientGone = 499

// Fault is a kind of error: what it is called and which status it has wherever the
// service answers with it, and how seussctl ends.
type Fault struct {
	Err    error  // what errors of the kind are by errors.Is; nil: a type of error, or no other kind
	Code   Code   // in the native API
	Status int    // of HTTP
	Lambda string // the error's name in Lambda's API; "": ServiceException
	// LambdaStatus is Lambda's status where that is another one, else 0.
	LambdaStatus int
	Exit         int // of seussctl
}

// Names of errors in Lambda's API reference.
const (
	LambdaNotFound    = "ResourceNotFoundException"
	LambdaConflict    = "ResourceConflictException"
	LambdaParameter   = "InvalidParameterValueException"
	LambdaContent     = "InvalidRequestContentException"
	LambdaRevision    = "PreconditionFailedException"
	LambdaThrottled   = "TooManyRequestsException"
	LambdaService     = "ServiceException"
	LambdaStorage     = "CodeStorageExceededException"
	LambdaUnsupported = "UnknownOperationException"
)

// faults is the one table of the errors that programs tell apart. An error that is
// of two kinds is the one that comes first. Of kinds with the same code a client
// takes any for any: the code is what the wire carries.
var faults = []Fault{
	{admission.ErrClientGone, Unavailable, StatusClientGone, "RequestCanceled", 0, ExitFailure},
	{dispatcher.ErrKilled, Killed, http.StatusConflict, "InvocationKilled", 0, ExitFailure},
	{instances.ErrRemoved, Killed, http.StatusConflict, "InvocationKilled", 0, ExitFailure},
	{cluster.ErrNone, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{cluster.ErrSilent, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{replica.ErrBehind, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{replica.ErrKeeper, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{peers.ErrUnreachable, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{members.ErrUnknown, NotFound, http.StatusNotFound, LambdaNotFound, 0, ExitFailure},
	{instances.ErrUnknown, NotFound, http.StatusNotFound, LambdaNotFound, 0, ExitFailure},
	{instances.ErrExists, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{instances.ErrFailed, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{instances.ErrBusy, Refused, http.StatusTooManyRequests, LambdaThrottled, 0, ExitFailure},
	{instances.ErrTooMany, QuotaExceeded, http.StatusTooManyRequests, LambdaStorage, http.StatusBadRequest, ExitFailure},
	{layers.ErrNotFound, NotFound, http.StatusNotFound, LambdaNotFound, 0, ExitFailure},
	{layers.ErrArchive, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{layers.ErrFull, QuotaExceeded, http.StatusTooManyRequests, LambdaStorage, http.StatusBadRequest, ExitFailure},
	{state.ErrNotFound, NotFound, http.StatusNotFound, LambdaNotFound, 0, ExitFailure},
	{state.ErrNotPushed, NotFound, http.StatusNotFound, LambdaNotFound, 0, ExitFailure},
	{state.ErrChanged, Conflict, http.StatusPreconditionFailed, LambdaRevision, 0, ExitFailure},
	{state.ErrFenced, Conflict, http.StatusPreconditionFailed, LambdaRevision, 0, ExitFailure},
	{state.ErrDeadlock, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{state.ErrNotHeld, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{state.ErrForbidden, NotAllowed, http.StatusForbidden, LambdaParameter, http.StatusBadRequest, ExitFailure},
	{state.ErrKey, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{state.ErrRange, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{state.ErrTooLarge, Invalid, http.StatusRequestEntityTooLarge, LambdaParameter, 0, ExitFailure},
	{state.ErrFull, QuotaExceeded, http.StatusTooManyRequests, LambdaStorage, http.StatusBadRequest, ExitFailure},
	{state.ErrTooMany, Refused, http.StatusTooManyRequests, LambdaThrottled, 0, ExitFailure},
	{state.ErrEnded, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{state.ErrNoGlobal, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{engine.ErrDiskFull, NoSpace, http.StatusInsufficientStorage, LambdaService, http.StatusInternalServerError, ExitFailure},
	{engine.ErrClosed, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{functionapi.ErrInvalid, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{region.ErrQuota, QuotaExceeded, http.StatusTooManyRequests, LambdaStorage, http.StatusBadRequest, ExitFailure},
	{region.ErrNotFound, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{region.ErrDenied, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{instances.ErrInvalid, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{archive.ErrFiles, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{instances.ErrClosed, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{admission.ErrNotUnderWay, NotFound, http.StatusNotFound, LambdaNotFound, 0, ExitFailure},
	{dispatcher.ErrUnknownFunction, UnknownFunction, http.StatusNotFound, LambdaNotFound, 0, ExitFailure},
	{dispatcher.ErrUnknownAlias, NotFound, http.StatusNotFound, LambdaNotFound, 0, ExitFailure},
	{dispatcher.ErrNoImage, NoImage, http.StatusNotFound, LambdaParameter, http.StatusBadRequest, ExitFailure},
	{lineage.ErrNotFound, NotFound, http.StatusNotFound, "", http.StatusInternalServerError, ExitFailure},
	{images.ErrNotFound, NotFound, http.StatusNotFound, "", http.StatusInternalServerError, ExitFailure},
	{lineage.ErrAmbiguous, Ambiguous, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{images.ErrNamed, Conflict, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{images.ErrAmbiguous, Ambiguous, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{lineage.ErrHasChildren, HasChildren, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{lineage.ErrPinned, Conflict, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{dispatcher.ErrBadEvent, BadEvent, http.StatusBadRequest, LambdaContent, 0, ExitUsage},
	{dispatcher.ErrExists, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{dispatcher.ErrInUse, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{dispatcher.ErrRevision, Conflict, http.StatusPreconditionFailed, LambdaRevision, 0, ExitFailure},
	{quota.ErrExceeded, QuotaExceeded, http.StatusTooManyRequests, LambdaStorage, http.StatusBadRequest, ExitFailure},
	{bounds.ErrBeyond, NotAllowed, http.StatusForbidden, LambdaParameter, http.StatusBadRequest, ExitFailure},
	{dispatcher.ErrNotLazy, NotLazy, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{dispatcher.ErrImpure, Impure, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{dispatcher.ErrNotAsked, NotAsked, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{instance.ErrCPU, Failed, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	// As a function's error in the result of its invocation they do not come here: this
	// is a function that dies while it is deployed or captured, which is no fault of the
	// service's.
	{instance.ErrTimeout, Crashed, http.StatusUnprocessableEntity, LambdaParameter, http.StatusBadRequest, ExitFailure},
	{instance.ErrMemory, Crashed, http.StatusUnprocessableEntity, LambdaParameter, http.StatusBadRequest, ExitFailure},
	{instance.ErrGuestExit, Crashed, http.StatusUnprocessableEntity, LambdaParameter, http.StatusBadRequest, ExitFailure},
	{instance.ErrProtocol, Crashed, http.StatusUnprocessableEntity, LambdaParameter, http.StatusBadRequest, ExitFailure},
	{instance.ErrStream, Crashed, http.StatusUnprocessableEntity, LambdaParameter, http.StatusBadRequest, ExitFailure},
	{lineage.ErrReadOnly, ReadOnly, http.StatusConflict, "", http.StatusInternalServerError, ExitFailure},
	{lineage.ErrInvalid, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{oci.ErrFormat, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{oci.ErrTooLarge, Invalid, http.StatusRequestEntityTooLarge, LambdaParameter, 0, ExitFailure},
	{oci.ErrMismatch, Conflict, http.StatusConflict, LambdaConflict, 0, ExitFailure},
	{lineage.ErrChecksum, Invalid, http.StatusBadRequest, LambdaParameter, 0, ExitFailure},
	{dispatcher.ErrClosed, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{dispatcher.ErrFull, Unavailable, http.StatusServiceUnavailable, LambdaThrottled, http.StatusTooManyRequests, ExitFailure},
	{instance.ErrNoMachine, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
	{sched.ErrDrained, Unavailable, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure},
}

// Kinds of errors that are types, and what is no kind of its own.
var (
	faultRefused  = Fault{nil, Refused, http.StatusTooManyRequests, LambdaThrottled, 0, ExitFailure}
	faultDraining = Fault{nil, Refused, http.StatusServiceUnavailable, LambdaService, 0, ExitFailure}
	faultFunction = Fault{nil, FunctionFailed, http.StatusUnprocessableEntity, LambdaParameter, http.StatusBadRequest, ExitFunction}
	faultCrash    = Fault{nil, Crashed, http.StatusUnprocessableEntity, LambdaParameter, http.StatusBadRequest, ExitFailure}
	faultFailed   = Fault{nil, Failed, http.StatusInternalServerError, LambdaService, 0, ExitFailure}
)

// FaultOf returns the kind of an error; one that is of no kind has the code Failed.
func FaultOf(err error) Fault {
	var refused *sched.RefusedError
	var function *dispatcher.FunctionError
	var crash *instance.CrashError
	switch {
	case errors.As(err, &refused) && refused.Reason == sched.Draining:
		return faultDraining
	case refused != nil:
		return faultRefused
	case errors.As(err, &function):
		return faultFunction
	case errors.As(err, &crash):
		return faultCrash
	}
	for _, f := range faults {
		if errors.Is(err, f.Err) {
			return f.whole()
		}
	}
	return faultFailed
}

func (f Fault) whole() Fault {
	if f.Lambda == "" {
		f.Lambda = LambdaService
	}
	return f
}

// StatusForLambda is the status in Lambda's API.
func (f Fault) StatusForLambda() int {
	if f.LambdaStatus != 0 {
		return f.LambdaStatus
	}
	return f.Status
}

// ErrorOf is the document of an error. It keeps the error's own words: a client
// shows them as it would show those of a service in its own process.
func ErrorOf(err error, requestID string) Error {
	doc := Error{Code: FaultOf(err).Code, Message: err.Error(), RequestID: requestID}
	var crash *instance.CrashError
	if !errors.As(err, &doc.Function) && errors.As(err, &crash) {
		doc.Crash = &Crash{Summary: crash.Summary, Report: crash.Report}
	}
	return doc
}

// Err makes of the document the error that the fault would have been in this
// process, as far as programs tell errors apart.
func (e *Error) Err() error {
	remote := &RemoteError{Code: e.Code, Message: e.Message}
	switch {
	case e.Function != nil:
		remote.cause = e.Function
	case e.Crash != nil:
		remote.cause = &instance.CrashError{Summary: e.Crash.Summary, Report: e.Crash.Report}
	}
	return remote
}

// RemoteError is an error of a service in another process.
type RemoteError struct {
	Code    Code
	Message string
	cause   error // the function's error, or its crash
}

func (e *RemoteError) Error() string { return e.Message }
func (e *RemoteError) Unwrap() error { return e.cause }

// Is reports whether target is of a kind that has the error's code.
func (e *RemoteError) Is(target error) bool {
	if e.Code == Failed {
		return false
	}
	for _, f := range faults {
		if f.Err == target {
			return f.Code == e.Code
		}
	}
	return false
}
