package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"seuss/dispatcher"
	"seuss/lineage"
)

// run carries out an invocation when its turn has come.
func (s *Server) run(ctx context.Context, request *dispatcher.Request) (*dispatcher.Result, error) {
	deployment, err := s.backend.Resolve(request.Function)
	var f lineage.Function
	if err == nil {
		f, err = s.backend.Function(deployment)
	}
	if err != nil {
		return nil, fmt.Errorf("invoke %q: %w", request.Function, err)
	}
	request.Function = deployment
	limit := s.concurrencyOf(&f)
	arrived := time.Now()
	ticket, err := s.scheduler.Acquire(ctx, lineage.FunctionOf(deployment), limit)
	began := time.Now()
	if err != nil {
		s.metrics.refused("refused")
		s.record(ctx, request, nil, err, arrived, began, began)
		return nil, s.cancelled(ctx, err)
	}
	defer ticket.Release()
	result, err := s.backend.Invoke(ctx, *request)
	s.record(ctx, request, result, err, arrived, began, time.Now())
	if err != nil {
		s.metrics.refused("error")
		return nil, s.cancelled(ctx, err)
	}
	s.metrics.invoked(result, began.Sub(arrived))
	s.log.LogAttrs(ctx, slog.LevelInfo, "invocation", slog.String("request_id", request.RequestID), slog.String("function", deployment),
		slog.String("path", string(result.Path)), slog.Bool("pooled", result.Pooled), slog.Duration("waited", began.Sub(arrived)),
		slog.Duration("total", result.Timings.Total), slog.Bool("failed", result.Error != nil))
	return result, nil
}

// concurrencyOf is the limit of a function over all its versions, -1 for none.
func (s *Server) concurrencyOf(f *lineage.Function) int {
	latest := *f
	if base := lineage.FunctionOf(f.Name); base != f.Name {
		var err error
		if latest, err = s.backend.Function(base); err != nil {
			return -1
		}
	}
	if latest.Settings.Concurrency == nil {
		return -1
	}
	return *latest.Settings.Concurrency
}

// cancelled tells a client that has gone from a failure.
func (s *Server) cancelled(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return &apiError{status: statusClientGone, code: "RequestCanceled", message: err.Error()}
	}
	return err
}
