package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/trace"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/sched"
	"seuss/lineage"
	"seuss/lineage/oci"
)

// Backend is what the handlers need of a *dispatcher.Dispatcher.
type Backend interface {
	Store() *lineage.Store
	ImageMemory(image string) (bytes uint64, err error)

	Resolve(name string) (deployment string, err error)
	Function(deployment string) (functions.Function, error)
	Functions() ([]functions.Function, error)
	Versions(name string) ([]functions.Function, error)
	FunctionFiles(functions.Function) (files map[string][]byte, warmUp []json.RawMessage, err error)
	Deploy(ctx context.Context, spec dispatcher.FunctionSpec) (*lineage.Node, error)
	Configure(name, revision string, edit func(*functions.Settings)) (functions.Function, error)
	Publish(name, revision, packageDigest string, description *string) (functions.Function, error)
	PutAlias(name, alias string, create bool, revision string, edit func(*functions.Alias)) (functions.Alias, error)
	RemoveAlias(name, alias string) error
	RemoveFunction(deployment string) error

	Invoke(ctx context.Context, request dispatcher.Request) (*dispatcher.Result, error)
	RunOnce(ctx context.Context, spec dispatcher.FunctionSpec, request dispatcher.Request) (*dispatcher.Result, error)
	Explain(name string, event []byte) ([]dispatcher.Candidate, error)

	Base(ctx context.Context, image string) (*lineage.Node, error)
	Import(ctx context.Context, image string, modules []string) (*lineage.Node, error)
	CaptureArgument(ctx context.Context, function string, event []byte, stopAt string) (*lineage.Node, error)
	Receive(ctx context.Context, src *oci.Source, tag string) (*dispatcher.Received, error)
	RemoveNode(idOrPrefix string, cascade bool) error
	Collect(lineage.GCOptions) (lineage.GCReport, error)
	RemoveImage(ref string, cascade bool) (digest string, nodes []string, err error)
	Pools() []dispatcher.PoolStats
	Instances() []dispatcher.Instance
	Stats() dispatcher.Stats
	Refresh() error
}

var _ Backend = (*dispatcher.Dispatcher)(nil)

// Options configure a Server.
type Options struct {
	Backend   Backend
	Scheduler *sched.Scheduler // nil: one with defaults
	Log       *slog.Logger     // nil: nowhere
	// Region and Account are those of functions' ARNs.
	Region, Account string
	// Journal keeps asynchronous events; nil: they are in memory. The Server
	// closes it.
	Journal *Journal
	// Tracer makes spans of invocations; nil: none are made.
	Tracer trace.Tracer
	// Runtimes maps prefixes of Lambda's runtime names to images; nil means that
	// python3.* runs in the default image.
	Runtimes map[string]string
}

// Server answers requests; it is an http.Handler.
type Server struct {
	backend         Backend
	scheduler       *sched.Scheduler
	log             *slog.Logger
	tracer          trace.Tracer
	region, account string
	runtimes        map[string]string
	events          *eventQueue
	metrics         *metrics
	shed            shed
	started         time.Time
	stopping        chan struct{} // closed by Stop
	handler         http.Handler
}

// New makes a server. Close it to end what it does in the background.
func New(o Options) *Server {
	s := &Server{
		backend: o.Backend, scheduler: o.Scheduler, log: o.Log, region: o.Region, account: o.Account, runtimes: o.Runtimes,
		tracer: o.Tracer, started: time.Now(), stopping: make(chan struct{}),
	}
	if s.scheduler == nil {
		s.scheduler = sched.New(sched.Options{Slots: dispatcher.DefaultPoolSize})
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.region == "" {
		s.region = DefaultRegion
	}
	if s.account == "" {
		s.account = DefaultAccount
	}
	if s.runtimes == nil {
		s.runtimes = map[string]string{"python3.": dispatcher.DefaultImage}
	}
	s.metrics = newMetrics(s)
	s.events = newEventQueue(s, o.Journal) // it may begin at once
	s.handler = s.identify(s.routes())
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Stop ends the answers that would go on for ever (watch). It may be called once,
// before the HTTP server's Shutdown.
func (s *Server) Stop() { close(s.stopping) }

// Close waits until the queued asynchronous events are done, or ctx ends; those
// that are left then stay in the journal, or are lost without one.
func (s *Server) Close(ctx context.Context) error { return s.events.close(ctx) }

// handle adapts a handler whose errors are answers.
func (s *Server) handle(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			s.writeError(w, r, asAPIError(err, r.URL.Path))
		}
	}
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /2015-03-31/functions/{name}/invocations":       s.invoke,
		"POST /2015-03-31/functions":                          s.createFunction,
		"POST /2015-03-31/functions/{$}":                      s.createFunction,
		"GET /2015-03-31/functions":                           s.listFunctions,
		"GET /2015-03-31/functions/{$}":                       s.listFunctions,
		"GET /2015-03-31/functions/{name}":                    s.getFunction,
		"DELETE /2015-03-31/functions/{name}":                 s.deleteFunction,
		"PUT /2015-03-31/functions/{name}/code":               s.updateCode,
		"GET /2015-03-31/functions/{name}/configuration":      s.getConfiguration,
		"PUT /2015-03-31/functions/{name}/configuration":      s.updateConfiguration,
		"POST /2015-03-31/functions/{name}/versions":          s.publishVersion,
		"GET /2015-03-31/functions/{name}/versions":           s.listVersions,
		"POST /2015-03-31/functions/{name}/aliases":           s.createAlias,
		"GET /2015-03-31/functions/{name}/aliases":            s.listAliases,
		"GET /2015-03-31/functions/{name}/aliases/{alias}":    s.getAlias,
		"PUT /2015-03-31/functions/{name}/aliases/{alias}":    s.updateAlias,
		"DELETE /2015-03-31/functions/{name}/aliases/{alias}": s.deleteAlias,
		"PUT /2017-10-31/functions/{name}/concurrency":        s.putConcurrency,
		"DELETE /2017-10-31/functions/{name}/concurrency":     s.deleteConcurrency,
		"GET /2019-09-30/functions/{name}/concurrency":        s.getConcurrency,
	} {
		mux.HandleFunc(pattern, s.handle(f))
	}
	s.nativeRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		// What AWS answers for a path that is no operation of the service.
		s.writeError(w, r, &apiError{status: http.StatusNotFound, code: "UnknownOperationException", message: "Unknown operation: " + r.Method + " " + r.URL.Path})
	})
	return mux
}

type requestIDKey struct{}

// requestID returns the request's id, which is that of an invocation too.
func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}

// identify gives each request an id, logs it, and keeps a fault in one handler
// from ending the others.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := newRequestID()
		w.Header().Set("X-Amzn-Requestid", id)
		r = r.WithContext(context.WithValue(parent(r), requestIDKey{}, id))
		answer := &statusWriter{ResponseWriter: w}
		defer func() {
			if fault := recover(); fault != nil {
				if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(fault)
				}
				s.log.Error("a handler panicked", "request_id", id, "path", r.URL.Path, "fault", fault, "stack", string(debug.Stack()))
				if answer.status == 0 {
					s.writeError(answer, r, &apiError{status: http.StatusInternalServerError, code: "ServiceException", message: "internal error"})
				}
			}
			if s.log.Enabled(r.Context(), slog.LevelDebug) {
				s.log.Debug("request", "request_id", id, "method", r.Method, "path", r.URL.Path, "status", answer.status, "took", time.Since(start))
			}
		}()
		next.ServeHTTP(answer, r)
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
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

// newRequestID returns a random UUID (RFC 9562, version 4).
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
