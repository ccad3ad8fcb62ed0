package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/sched"
)

// check refuses an invocation of what name stands for that would be refused
// anyway, before anything of it but its head has been read.
func (s *Server) check(name string) error {
	_, f, err := s.resolve(name)
	if err != nil {
		return nil // whoever invokes it says so, in the words of his API
	}
	if err := s.scheduler.Check(functions.BaseName(f.Name), s.concurrencyOf(&f)); err != nil {
		s.metrics.refused("refused")
		s.shed.count(s.log)
		return err
	}
	return nil
}

func (s *Server) resolve(name string) (string, functions.Function, error) {
	deployment, err := s.backend.Resolve(name)
	if err != nil {
		return "", functions.Function{}, err
	}
	f, err := s.backend.Function(deployment)
	return deployment, f, err
}

// run carries out an invocation when its turn has come. respond, which may be nil, is
// given the result before the machine is reset.
func (s *Server) run(ctx context.Context, request *dispatcher.Request, respond func(*dispatcher.Result)) (*dispatcher.Result, error) {
	deployment, f, err := s.resolve(request.Function)
	if err != nil {
		return nil, fmt.Errorf("invoke %q: %w", request.Function, err)
	}
	request.Function = deployment
	arrived := time.Now()
	ticket, err := s.scheduler.Acquire(ctx, functions.BaseName(deployment), s.concurrencyOf(&f))
	began := time.Now()
	if err != nil {
		var refused *sched.RefusedError
		if errors.As(err, &refused) {
			s.metrics.refused("refused")
			s.shed.count(s.log)
		} else {
			s.metrics.refused("cancelled")
		}
		s.record(ctx, request, nil, err, arrived, began, began, nil)
		return nil, s.cancelled(ctx, err)
	}
	defer ticket.Release()
	var reset *resetSpan
	if s.tracer != nil {
		reset = &resetSpan{tracer: s.tracer}
		request.OnReset = reset.done
	}
	var ended time.Time
	if respond != nil {
		request.Deliver = func(result *dispatcher.Result) bool {
			ended = time.Now()
			respond(result)
			return !s.scheduler.Waiting() // who waits may want the machine for something else
		}
	}
	result, err := s.backend.Invoke(ctx, *request)
	if ended.IsZero() {
		ended = time.Now()
	}
	s.record(ctx, request, result, err, arrived, began, ended, reset)
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

// sent has a response of known length on its way at once: the handler is not at its
// end.
func sent(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush() // a client that has gone is no concern
}

// shedEvery is how often refusals are logged: a line for each would cost more
// than the refusal.
const shedEvery = 10 * time.Second

// shed counts refusals for the log.
type shed struct {
	mu    sync.Mutex
	since time.Time // of the last line
	n     int       // refused since then
}

func (c *shed) count(log *slog.Logger) {
	now := time.Now()
	c.mu.Lock()
	c.n++
	n := c.n
	due := now.Sub(c.since) >= shedEvery
	if due {
		c.since, c.n = now, 0
	}
	c.mu.Unlock()
	if due {
		log.Warn("invocations are refused: there is more to do than can be done", "refused", n)
	}
}

// concurrencyOf is the limit of a function over all its versions, -1 for none.
func (s *Server) concurrencyOf(f *functions.Function) int {
	latest := *f
	if base := functions.BaseName(f.Name); base != f.Name {
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
		return &apiError{status: api.StatusClientGone, code: "RequestCanceled", message: err.Error()}
	}
	return err
}
