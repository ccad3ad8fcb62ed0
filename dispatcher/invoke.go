package dispatcher

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"seuss/dispatcher/access"
	"seuss/dispatcher/chain"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/state/region"
	"seuss/lineage"
)

// Invocation is one that has its result. Its machine stays as the function left it until
// End, which must be called, once.
type Invocation interface {
	Result() *Result
	// End gives the machine back. It is reset before End returns if here, else by
	// another goroutine, unless somebody wants the machine before; having that goroutine
	// woken delays the caller.
	End(here bool)
}

// invocation is one request on its way.
type invocation struct {
	loan
	d        *Dispatcher
	f        *function
	event    event
	progress *inflight.Progress // nil: nobody looks
	away     away
	deadline time.Time
	context  []byte    // JSON, preceded by its length
	room     [512]byte // of the context, if that is no longer
	result   *Result
	bound    []lineage.Binding // arguments given so far, in order, where there may be a capture
	answers  int               // to questions
	asked    int               // bytes that remembering them takes
	started  time.Time
	ways     ways
	regions  region.Set // the memory that it shares with others
	onReset  func(Reset)
	link     *chain.Link                                // nil: nobody's function has called it
	calling  func() context.Context                     // see Request.Context
	exchange contracts.Exchange                         // see Request
	stream   contracts.Stream                           // see Request
	err      error                                      // that the run ended in
	looked   bool                                       // what the handler imports is looked at
	lost     error                                      // why that is not known
	memory   bool                                       // the result should tell what the instance takes
	capture  func(i *invocation, w instance.Want) error // not nil: called at each question
}

// Invoke runs a function on an event. What the function does wrong is in the
// Result, its time running out and its death included; an error means that there
// is none: an unknown function, a bad event, a cancelled context, or a failure of
// the host.
func (d *Dispatcher) Invoke(ctx context.Context, req Request) (*Result, error) {
	i, err := d.Run(ctx, &req)
	if err != nil {
		return nil, err
	}
	r := i.Result()
	i.End(req.Deliver != nil && req.Deliver(r))
	return r, nil
}

// Run is Invoke for who has something to do between the result and the reset of the
// machine.
func (d *Dispatcher) Run(ctx context.Context, req *Request) (_ Invocation, err error) {
	start := time.Now()
	defer func() {
		if err != nil {
			err = fmt.Errorf("invoke %q: %w", req.Function, err)
		}
	}()
	spec := req.Deployment
	if spec == nil {
		if spec, err = d.Lookup(req.Function); err != nil {
			return nil, err
		}
	}
	f, err := d.cache.get(spec)
	if errors.Is(err, ErrNoImage) {
		f, err = imageCame(ctx, d, spec, err)
	}
	if err != nil {
		return nil, err
	}
	if spec.Snapshot != "" && (req.MaxPath == PathCold || req.MaxPath == PathBase) {
		return nil, fmt.Errorf("from %q: the function was deployed from a checkpoint, and what it is begins there: %w", req.MaxPath, lineage.ErrInvalid)
	}
	i, err := newInvocation(f, req, start)
	if err != nil {
		return nil, err
	}
	i.d, i.result.Platform = d, d.platform.Name()
	if (d.opts.AutoArguments || req.AutoArguments) && spec.Lazy && !d.opts.ReadOnly {
		i.capture = (*invocation).captureIfWorth
	}
	if req.MaxPath == PathCold {
		i.loan, err = i.cold()
	} else {
		s := f.node
		if len(f.arguments) > 0 || req.MaxPath != "" || s == nil || s.State == nil || req.Explain {
			s, err = i.choose(ctx, req)
		}
		if err == nil {
			i.result.Timings.Match = time.Since(start)
			i.loan, err = d.pools.lend(ctx, i.progress, i.f.image, s, req.Fresh)
		}
	}
	if err != nil {
		return nil, err
	}
	if req.Began != nil {
		req.Began()
	}
	if err := i.conclude(i.run(ctx)); err != nil {
		i.End(false)
		return nil, err
	}
	return i, nil
}

// newInvocation checks a request, and makes what is to be told to the driver.
func newInvocation(f *function, req *Request, start time.Time) (*invocation, error) {
	if err := req.Check(); err != nil {
		return nil, err
	}
	i := &invocation{f: f, started: start, progress: req.Progress, away: away{turn: req.Turn}, memory: req.Memory, onReset: req.OnReset, exchange: req.Exchange, stream: req.Stream, link: req.Link, calling: req.Context}
	var err error
	if i.event, err = parseEvent(req.Event, f.spec.Lazy); err != nil {
		return nil, err
	}
	if req.Exchange != nil && (f.contract == nil || !f.contract.Port) {
		return nil, fmt.Errorf("it is no server: only functions that listen on a port (--http) take connections: %w", lineage.ErrInvalid)
	}
	i.deadline = start.Add(f.bounds.Time(req.Timeout))
	if !req.Deadline.IsZero() && req.Deadline.Before(i.deadline) {
		i.deadline = req.Deadline
	}
	_, version, _ := strings.Cut(f.spec.Name, ":")
	i.result = &Result{RequestID: req.RequestID, Version: version, Contract: contracts.Driver}
	if f.contract != nil {
		i.result.Contract = f.contract.Name
	}
	if i.result.RequestID == "" {
		i.result.RequestID = NewRequestID()
	}
	i.context = i.appendContext(i.room[:4], req)
	binary.LittleEndian.PutUint32(i.context, uint32(len(i.context)-4))
	return i, nil
}

// appendContext appends what the driver turns into Lambda's context object.
func (i *invocation) appendContext(b []byte, req *Request) []byte {
	key := functions.BaseName(i.f.spec.Name)
	name := functions.NameOf(key) // no character of it needs quoting
	version := i.result.Version
	if version == "" {
		version = "$LATEST"
	}
	b = append(b, `{"aws_request_id":`...)
	b = strconv.AppendQuoteToASCII(b, i.result.RequestID)
	b = append(b, `,"function_name":"`...)
	b = append(b, name...)
	b = append(b, `","function_version":"`...)
	b = append(b, version...)
	b = append(b, `","invoked_function_arn":"`...)
	if req.ARN != "" {
		b = append(b, req.ARN...)
	} else {
		b = append(b, ARN(localRegion, access.AccountOf(functions.OwnerOf(key)), name, "")...)
	}
	b = append(b, `","memory_limit_in_mb":"`...)
	b = strconv.AppendUint(b, memoryOf(i.f.image, &i.f.bounds), 10)
	b = append(b, `","log_group_name":"/aws/lambda/`...)
	b = append(b, name...)
	b = append(b, `","log_stream_name":`...)
	b = strconv.AppendQuoteToASCII(b, i.result.RequestID)
	b = append(b, `,"identity":null,"client_context":`...)
	if len(req.ClientContext) > 0 {
		b = append(b, req.ClientContext...)
	} else {
		b = append(b, `null`...)
	}
	b = append(b, `,"deadline_ms":`...)
	b = strconv.AppendInt(b, i.deadline.UnixMilli(), 10)
	return append(b, '}')
}

// choose finds the snapshot to start from, where it is not simply the function's.
func (i *invocation) choose(ctx context.Context, req *Request) (*instance.Snapshot, error) {
	d := i.d
	t := i.f.node
	if len(i.f.arguments) > 0 || req.MaxPath != "" || t == nil {
		t = d.costs.match(i.f, &i.event, req.MaxPath)
	}
	if t == nil || t.State == nil {
		// The node is gone, or this host needs another one: make it again.
		var err error
		if t, err = d.restore(ctx, i.f.spec.Name); err != nil {
			return nil, err
		}
		spec, err := d.Lookup(i.f.spec.Name)
		if err != nil {
			return nil, err
		}
		if i.f, err = d.cache.get(spec); err != nil {
			return nil, err
		}
	}
	if req.Explain {
		reach, err := d.outer.Summarize(&i.f.spec.Settings)
		if err != nil {
			return nil, err
		}
		i.result.Bounds = &reach
		i.result.Candidates = d.costs.candidates(i.f, &i.event, t, req.MaxPath)
		explainStart(d.Planner, i.f.spec.Name, i.result.Candidates)
	}
	return t, nil
}

// cold boots a machine for this invocation alone.
func (i *invocation) cold() (loan, error) {
	booted, err := i.d.maker.boot(i.f.image, i.f.runtime)
	if err != nil {
		return loan{}, err
	}
	booted.Start().Hold()
	return loan{Instance: booted, pools: i.d.pools, waited: booted.Restored}, nil
}

// Result and End make it an Invocation.
func (i *invocation) Result() *Result { return i.result }

func (i *invocation) End(here bool) {
	start := i.Start()
	if failed(i.err) || failed(i.lost) {
		i.destroy()
	} else {
		i.release(here, i.onReset)
	}
	if i.err == nil && start.State != nil {
		i.d.costs.learn(start, i.result)
	}
	if i.result.Path == PathFunction || i.result.Path == PathArgument {
		i.d.events.started.Add(1)
	}
}

// NewRequestID returns a random UUID (RFC 9562, version 4), as Lambda's request and
// revision ids are.
func NewRequestID() string { return uuid.NewString() }

// localRegion is the region in ARNs where nobody has named any.
const localRegion = "local"

// ARN is the ARN of a function; qualifier may be empty.
func ARN(region, account, name, qualifier string) string {
	arn := "arn:aws:lambda:" + region + ":" + account + ":function:" + name
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}
