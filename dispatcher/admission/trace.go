package admission

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"seuss/dispatcher"
	"seuss/dispatcher/instance"
)

// span is when the parts of an invocation were.
type span struct {
	arrived, began, ended time.Time
	whole                 *wholeSpan // nil: not traced
	reset                 *resetSpan // nil: not traced
}

// wholeSpan is the span of an invocation. What the invocation calls has its own below that, so
// it is begun with the first call, by whichever goroutine, or else at the end.
type wholeSpan struct {
	tracer  trace.Tracer
	ctx     context.Context // of who has asked for it
	name    string
	arrived time.Time

	once sync.Once
	span trace.Span
}

func (s *wholeSpan) begin() trace.Span {
	s.once.Do(func() {
		_, s.span = s.tracer.Start(s.ctx, s.name, trace.WithTimestamp(s.arrived), trace.WithSpanKind(trace.SpanKindServer))
	})
	return s.span
}

// calls is dispatcher.Request.Context: calls end by themselves, and not with who has asked for
// their caller.
func (s *wholeSpan) calls() context.Context {
	return trace.ContextWithSpanContext(context.Background(), s.begin().SpanContext())
}

// trace makes the spans of an invocation after it has ended: one for the whole,
// one for its wait, one for each phase, and one more when the machine has been
// reset. Their times are those that the dispatcher measured, and nothing is done on
// the invocation's way, unless it calls others.
func (c *Control) trace(request *dispatcher.Request, result *dispatcher.Result, err error, times span) {
	if times.whole == nil {
		return
	}
	span := times.whole.begin()
	ctx := trace.ContextWithSpan(times.whole.ctx, span)
	span.SetAttributes(attribute.String("faas.name", request.Function), attribute.String("faas.invocation_id", request.RequestID))
	defer span.End(trace.WithTimestamp(times.ended))
	if times.reset != nil {
		times.reset.below(ctx)
	}
	_, wait := c.o.Tracer.Start(ctx, "wait", trace.WithTimestamp(times.arrived))
	wait.End(trace.WithTimestamp(times.began))
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		return
	}
	span.SetAttributes(attribute.String("seuss.path", string(result.Path)), attribute.Bool("seuss.pooled", result.Pooled), attribute.String("seuss.node", result.NodeID),
		attribute.Int64("seuss.pages_copied", int64(result.PagesCopied)), attribute.Int64("seuss.pages_mapped", int64(result.PagesMapped)))
	if result.Error != nil {
		span.SetStatus(codes.Error, instance.Cut(result.Error.Error(), maxErrorText))
	}
	at := times.began
	for _, p := range PhasesOf(result) {
		if p.Took == 0 {
			continue
		}
		_, child := c.o.Tracer.Start(ctx, p.Name, trace.WithTimestamp(at))
		at = at.Add(p.Took)
		child.End(trace.WithTimestamp(at))
	}
}

// resetSpan makes the span of a reset, which may end before or after the spans of
// the invocation that it follows are made.
type resetSpan struct {
	tracer trace.Tracer
	mu     sync.Mutex
	ctx    context.Context   // of the invocation's span; nil: not made yet
	reset  *dispatcher.Reset // nil: not done yet
}

func (s *resetSpan) below(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx = ctx
	s.end()
}

func (s *resetSpan) done(r dispatcher.Reset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset = &r
	s.end()
}

func (s *resetSpan) end() {
	if s.ctx == nil || s.reset == nil {
		return
	}
	_, span := s.tracer.Start(s.ctx, "reset", trace.WithTimestamp(s.reset.Began), trace.WithAttributes(
		attribute.Int64("seuss.pages_copied", int64(s.reset.PagesCopied)), attribute.Int64("seuss.pages_mapped", int64(s.reset.PagesMapped))))
	span.End(trace.WithTimestamp(s.reset.Began.Add(s.reset.Took)))
}

// Phase is a part of an invocation's time.
type Phase struct {
	Name string
	Took time.Duration
}

// PhasesOf returns an invocation's phases, in order.
func PhasesOf(r *dispatcher.Result) []Phase {
	t := &r.Timings
	return []Phase{{"match", t.Match}, {"shell", t.Machine}, {"deploy", t.Deploy}, {"load", t.Load}, {"run", t.Run}}
}
