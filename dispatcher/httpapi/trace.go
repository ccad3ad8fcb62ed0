package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"seuss/dispatcher"
)

// parent takes over the trace that a client's traceparent header names.
func parent(r *http.Request) context.Context {
	return propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
}

// record makes the spans of an invocation after it has ended: one for the whole,
// one for its wait, one for each phase. Their times are those that the
// dispatcher measured, and nothing is done on the invocation's way. reset, which
// may be nil, makes one more when the machine has been reset.
func (s *Server) record(ctx context.Context, request *dispatcher.Request, result *dispatcher.Result, err error, arrived, began, ended time.Time, reset *resetSpan) {
	if s.tracer == nil {
		return
	}
	ctx, span := s.tracer.Start(ctx, "invoke "+request.Function, trace.WithTimestamp(arrived), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("faas.name", request.Function), attribute.String("faas.invocation_id", request.RequestID)))
	defer span.End(trace.WithTimestamp(ended))
	if reset != nil {
		reset.below(ctx)
	}
	_, wait := s.tracer.Start(ctx, "wait", trace.WithTimestamp(arrived))
	wait.End(trace.WithTimestamp(began))
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		return
	}
	span.SetAttributes(attribute.String("seuss.path", string(result.Path)), attribute.Bool("seuss.pooled", result.Pooled), attribute.String("seuss.node", result.NodeID),
		attribute.Int64("seuss.pages_copied", int64(result.PagesCopied)), attribute.Int64("seuss.pages_mapped", int64(result.PagesMapped)))
	if result.Error != nil {
		span.SetStatus(codes.Error, result.Error.Error())
	}
	at := began
	for _, p := range phasesOf(result) {
		if p.took == 0 {
			continue
		}
		_, child := s.tracer.Start(ctx, p.name, trace.WithTimestamp(at))
		at = at.Add(p.took)
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
