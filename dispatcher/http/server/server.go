package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/sync/semaphore"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/api"
	"seuss/dispatcher/cluster"
	"seuss/dispatcher/events"
	"seuss/dispatcher/logs"
	"seuss/dispatcher/sched"
)

// DefaultBodyBytes bounds what the bodies of all requests take at a time: some of
// the largest deployments, or eighty of the largest events.
const DefaultBodyBytes = 512 << 20

// Options configure a Server. All but Logs, Log, Region, Account, Sandbox, Cluster, BodyBytes
// and BodyStall are needed; they stay the caller's.
type Options struct {
	Service   api.Hosted
	Admission *admission.Control // of the Service's invocations, on Scheduler, with Metrics
	Scheduler *sched.Scheduler
	Events    *events.Queue
	Metrics   *Metrics
	Logs      *logs.Store  // of functions; nil: none are kept
	Log       *slog.Logger // nil: nowhere
	// Region and Account are those of functions' ARNs.
	Region, Account string
	// Sandbox is what confines the daemon.
	Sandbox []api.Measure
	// ImportBytes bounds the files of an archive that is imported; 0: what package oci
	// takes.
	ImportBytes int64
	// FreeSpace says what a directory's file system has free, and has in all, in bytes;
	// nil: statfs(2).
	FreeSpace func(dir string) (free, all uint64, err error)
	// Endpoint is what clients are told of the service's address; its Region is
	// filled in.
	Endpoint api.Endpoint
	// Keys are the tokens of other clients than the one who has the state directory; nil:
	// there are none.
	Keys *access.Keeper
	// Cluster is the membership in one; nil: in none.
	Cluster Cluster
	// BodyBytes bounds the memory of all bodies; 0: DefaultBodyBytes.
	BodyBytes int64
	// BodyStall is how long a body may stand still; 0: DefaultBodyStall.
	BodyStall time.Duration
}

// Cluster is what front doors need of a membership.
type Cluster interface {
	Members() cluster.View
	// Cordoned reports whether this member is to get nothing new.
	Cordoned() bool
	Cordon(ctx context.Context, member string, on bool) error
}

// Server answers requests; it is an http.Handler. What its options hold is there
// for the front doors.
type Server struct {
	Options
	Started  time.Time
	stopping chan struct{} // closed by Stop
	bodies   *semaphore.Weighted
	probe    probe
	mux      *http.ServeMux
	routes   []string // patterns of the front doors
	hosts    []hosts
	handler  http.Handler
}

// doors are the front doors by name.
var doors = map[string]func(*Server, *Routes){}

// Register adds a front door: its routes are served by every Server that is made later.
// It is for the init functions of packages.
func Register(name string, door func(*Server, *Routes)) {
	if doors[name] != nil {
		panic("server: two front doors are called " + name)
	}
	doors[name] = door
}

// New makes a server with all front doors.
func New(o Options) *Server {
	s := &Server{Options: o, Started: time.Now(), stopping: make(chan struct{}), mux: http.NewServeMux()}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Region == "" {
		s.Region = DefaultRegion
	}
	if s.FreeSpace == nil {
		s.FreeSpace = FreeSpace
	}
	s.Endpoint.Region = s.Region
	if s.Account == "" {
		s.Account = DefaultAccount
	}
	if s.BodyBytes <= 0 {
		s.BodyBytes = DefaultBodyBytes
	}
	if s.BodyStall <= 0 {
		s.BodyStall = DefaultBodyStall
	}
	s.bodies = semaphore.NewWeighted(s.BodyBytes)
	routes := &Routes{s, s.mux}
	for _, door := range doors {
		door(s, routes)
	}
	routes.HandleFunc("GET /healthz", s.healthz)
	routes.HandleFunc("GET /readyz", s.readyz)
	if s.Metrics != nil {
		routes.Handle("GET /metrics", s.Metrics.serve(s))
	}
	s.handler = s.identify(http.HandlerFunc(s.route))
	return s
}

// ServeHTTP implements http.Handler. It lets everything in: see Access.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Stop ends the answers that would go on for ever. It may be called once, before
// the HTTP server's Shutdown.
func (s *Server) Stop() { close(s.stopping) }

// Stopping is closed when such answers are to end.
func (s *Server) Stopping() <-chan struct{} { return s.stopping }

// request is what the server knows of a request on its way.
type request struct {
	id        string
	server    *Server
	principal *access.Principal // nil: it came past Access
	guard     *guard            // likewise
	held      int64             // bytes of bodies, given back at its end
	timed     *timedBody        // nil: it has no body, or came past Access
	body      []byte            // where it was read already
}

type requestKey struct{}

// stateOf returns what is known of r, which has come through identify.
func stateOf(r *http.Request) *request {
	st, _ := r.Context().Value(requestKey{}).(*request)
	return st
}

// RequestIDOf returns the request's id, which is that of an invocation too.
func RequestIDOf(r *http.Request) string {
	if st := stateOf(r); st != nil {
		return st.id
	}
	return ""
}

// identify gives each request an id and takes over the trace that its traceparent
// header names, logs it, and keeps a fault in one handler from ending the others.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		st := &request{id: dispatcher.NewRequestID(), server: s}
		w.Header().Set("X-Amzn-Requestid", st.id)
		parent := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		// A copy: net/http looks at the body of its own request to see what is left
		// of it.
		r = r.WithContext(context.WithValue(parent, requestKey{}, st))
		answer := &statusWriter{ResponseWriter: w}
		defer func() {
			if st.held > 0 {
				s.bodies.Release(st.held)
			}
			if fault := recover(); fault != nil {
				if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(fault)
				}
				s.Log.Error("a handler panicked", "request_id", st.id, "path", r.URL.Path, "fault", fault, "stack", string(debug.Stack()))
				if answer.status == 0 {
					s.WriteRefusal(answer, r, &Refusal{Status: http.StatusInternalServerError, Code: api.LambdaService, Message: "internal error"})
				}
			}
			if s.Log.Enabled(r.Context(), slog.LevelDebug) {
				s.Log.Debug("request", "request_id", st.id, "method", r.Method, "path", r.URL.Path, "status", answer.status, "took", time.Since(start))
			}
		}()
		next.ServeHTTP(answer, r)
	})
}

// statusWriter remembers the status of the answer, not of what is said ahead of it (1xx).
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
