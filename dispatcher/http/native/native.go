// Package native is the front door for what Lambda's API has no word for: the JSON
// API under /v1, whose documents are in package api, the lineage as a stream of
// events, and the description of all front doors in OpenAPI. Its handlers decode,
// call and encode.
//
// It registers itself: a program serves it by importing it.
//
// Units: those of the documents.
//
// Locks: progress.mu, watchers.mu and tape.mu, leaves.
package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/api"
	"seuss/dispatcher/bundle"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/sched"
)

// maxSmallRequest bounds a request that carries none.
const maxSmallRequest = 1 << 20

// maxNativeRequest bounds a request of the native API that carries code: what
// functions.MaxCodeBytes takes in base64, and an event.
const maxNativeRequest = functions.MaxCodeBytes + functions.MaxCodeBytes/2 + dispatcher.MaxEventBytes

// door is the API over a server.
type door struct {
	*server.Server
	watching *crowd
	waiting  *crowd
	copying  *crowd

	forwarding *crowd
}

func init() { server.Register("native", open) }

func open(on *server.Server, mux *server.Routes) {
	s, look := &door{Server: on, watching: newWatchers(), waiting: newWaiters(), copying: newCopiers(), forwarding: newForwarders()}, newInspector(on)
	for pattern, f := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/health":                      s.health,
		"GET /v1/endpoint":                    s.nativeEndpoint,
		"GET /v1/functions":                   s.nativeFunctions,
		"GET /v1/functions/{name}":            s.nativeFunction,
		"PUT /v1/functions/{name}":            s.nativeDeploy,
		"PATCH /v1/functions/{name}":          s.nativeUpdate,
		"DELETE /v1/functions/{name}":         s.nativeRemove,
		"GET /v1/functions/{name}/code":       s.nativeCode,
		"GET /v1/functions/{name}/imports":    s.nativeImported,
		"POST /v1/functions/{name}/invoke":    s.nativeInvoke,
		"POST /v1/functions/{name}/explain":   s.nativeExplain,
		"POST /v1/functions/{name}/snapshots": s.nativeCapture,
		"GET /v1/functions/{name}/logs":       s.nativeLogs,
		"GET /v1/functions/{name}/events":     s.nativeEvents,
		"POST /v1/run":                        s.nativeRun,
		"POST /v1/images/{image}/base":        s.nativeBase,
		"POST /v1/images/{image}/imports":     s.nativeImports,
		"DELETE /v1/images/{image}":           s.nativeRemoveImage,
		"GET /v1/images":                      look.images,
		"GET /v1/snapshots":                   s.nativeSnapshots,
		"GET /v1/snapshots/{id}":              s.nativeSnapshot,
		"DELETE /v1/snapshots/{id}":           s.nativeRemoveSnapshot,
		"POST /v1/snapshots/{id}/form":        s.nativeForm,
		"POST /v1/snapshots/{id}/flatten":     s.nativeFlatten,
		"GET /v1/snapshots/{id}/inspect":      look.inspect,
		"GET /v1/snapshots/{id}/diff":         look.diff,
		"GET /v1/snapshots/{id}/rebase":       look.rebase,
		"GET /v1/snapshots/{id}/export":       look.export,
		"GET /v1/usage":                       look.usage,
		"POST /v1/verify":                     look.verify,
		"POST /v1/duplicates":                 look.duplicates,
		"POST /v1/import":                     newImporter(on).take,
		"POST /v1/gc":                         s.nativeGC,
		"POST /v1/marks":                      s.nativeMark,
		"GET /v1/lineage":                     s.nativeLineage,
		"GET /v1/watch":                       s.watch,
		"GET /v1/pools":                       s.nativePools,
		"GET /v1/sockets":                     s.nativeSockets,
		"GET /v1/invocations":                 underWay{on}.list,
		"DELETE /v1/invocations/{id}":         underWay{on}.kill,
		"GET /v1/sandbox":                     s.nativeSandbox,
		"POST /v1/refresh":                    s.nativeRefresh,
		"GET /v1/functions/{name}/start":      plans{on}.start,
		"GET /v1/tiers":                       plans{on}.tiers,
		"GET /v1/cluster":                     cluster{on}.show,
		"PUT /v1/cluster/members/{host}":      cluster{on}.cordon,
		"GET /v1/plans":                       plans{on}.list,
		"POST /v1/plans":                      plans{on}.apply,
		"DELETE /v1/plans":                    plans{on}.drop,
		"GET /v1/state":                       shared{s}.serve,
		"GET /v1/state/stats":                 shared{s}.stats,
		"GET /v1/state/{path...}":             shared{s}.serve,
		"PUT /v1/state/{path...}":             shared{s}.serve,
		"POST /v1/state/{path...}":            shared{s}.serve,
		"DELETE /v1/state/{path...}":          shared{s}.serve,
		"POST /v1/push/{path...}":             shared{s}.serve,
		"DELETE /v1/push/{path...}":           shared{s}.serve,
		"POST /v1/pull/{path...}":             shared{s}.serve,
	} {
		mux.HandleFunc(pattern, s.native(f))
	}
	alive := live{s, look}
	for pattern, f := range alive.routes() {
		mux.HandleFunc(pattern, s.native(f))
	}
	mux.HandleHosts(liveURL{alive}.matches, liveURL{alive})
	for _, method := range webMethods {
		mux.HandleFunc(method+" "+webPath, s.native(web{s}.serve))
	}
	mux.HandleFunc("GET /openapi.json", s.openAPI)
}

// native adapts a handler of the native API, whose errors are api.Error.
func (s *door) native(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			s.writeNativeError(w, r, err)
		}
	}
}

// writeNativeError answers with the document of an error.
func (s *door) writeNativeError(w http.ResponseWriter, r *http.Request, err error) {
	doc, status := api.ErrorOf(err, server.RequestIDOf(r)), api.FaultOf(err).Status
	var own *server.Refusal
	var refused *sched.RefusedError
	switch {
	case errors.As(err, &own):
		status, doc.Code, doc.Message = own.Status, api.Invalid, own.Message
		if own.Status == http.StatusNotFound {
			doc.Code = api.NotFound
		} else if own.Status == http.StatusTooManyRequests {
			doc.Code = api.Refused
			w.Header().Set("Retry-After", server.RetryAfterText(own.RetryAfter))
		} else if own.Status == http.StatusInsufficientStorage {
			doc.Code = api.NoSpace
		}
	case errors.As(err, &refused):
		w.Header().Set("Retry-After", server.RetryAfterText(refused.RetryAfter))
	case status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", server.RetryAfterText(time.Second))
	}
	if status >= 500 {
		s.Log.Error("request failed", "request_id", doc.RequestID, "path", r.URL.Path, "error", err)
	}
	server.WriteJSON(w, status, doc)
}

// read decodes a request of the native API strictly: its clients are ours.
func read(r *http.Request, limit int64, v any) error {
	b, err := server.ReadBody(r, limit, "request")
	if err != nil {
		return err
	}
	if err := api.Decode(b, v); err != nil {
		return &server.Refusal{Status: http.StatusBadRequest, Message: "request: " + err.Error()}
	}
	return nil
}

// deployment checks the name in a request's path.
func (s *door) deployment(r *http.Request) (string, error) {
	f, err := s.NameIn(r, "")
	return f.Deployment(), err
}

func (s *door) health(w http.ResponseWriter, r *http.Request) error {
	st := sched.Stats{Refused: map[sched.Reason]uint64{}, Draining: s.Scheduler.Draining()}
	h := api.Health{Status: "ok", UptimeSeconds: int64(time.Since(s.Started).Seconds()), Scheduler: st}
	status := http.StatusOK
	if st.Draining {
		h.Status, status = "draining", http.StatusServiceUnavailable
	}
	if p := server.PrincipalOf(r); p.Has(access.Read) && p.Everywhere() { // the load is everybody's
		h.StateDir, h.Events, h.Scheduler = s.Service.StateDir(), s.Events.Len(), s.Scheduler.Stats()
	}
	server.WriteJSON(w, status, h)
	return nil
}

func (s *door) nativeEndpoint(w http.ResponseWriter, _ *http.Request) error {
	server.WriteJSON(w, http.StatusOK, s.Endpoint)
	return nil
}

func (s *door) nativeDeploy(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	var spec dispatcher.FunctionSpec
	if err := read(r, maxNativeRequest, &spec); err != nil {
		return err
	}
	spec.Name = name
	if spec.Snapshot != "" {
		of, err := s.snapshot(r, spec.Snapshot)
		if err != nil {
			return err
		}
		spec.Snapshot = of.ID
	}
	n, err := once(s, r, admission.Deploy, name, func(ctx context.Context) (*api.Snapshot, error) { return s.Service.Deploy(ctx, spec) })
	return answer(w, http.StatusCreated, shownSnapshot(r, n), err)
}

func (s *door) nativeUpdate(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	var ask api.Update
	if err := read(r, maxSmallRequest, &ask); err != nil {
		return err
	}
	f, err := s.Service.Update(r.Context(), name, ask)
	return answer(w, http.StatusOK, shownFunction(r, f), err)
}

// answer writes a document, unless there was an error.
func answer[T any](w http.ResponseWriter, status int, doc T, err error) error {
	if err != nil {
		return err
	}
	server.WriteJSON(w, status, doc)
	return nil
}

// done answers that something was done.
func done(w http.ResponseWriter, err error) error {
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *door) nativeRemove(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	return done(w, s.Service.RemoveFunction(r.Context(), name))
}

func (s *door) nativeCode(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	f, err := s.Service.Function(name)
	if err != nil {
		return err
	}
	files, _, err := s.Service.FunctionFiles(f)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/zip")
	if err := bundle.WriteZip(w, files); err != nil {
		panic(http.ErrAbortHandler) // a client must not take half of it for all
	}
	return nil
}

// once does what needs a machine, and so a slot of an owner's.
func once[T any](s *door, r *http.Request, operation admission.Operation, function string, do func(context.Context) (T, error)) (doc T, err error) {
	what := admission.Work{Operation: operation, Function: function, RequestID: server.RequestIDOf(r)}
	err = s.Admission.Once(r.Context(), what, func(ctx context.Context) (err error) {
		doc, err = do(ctx)
		return err
	})
	return doc, err
}

func (s *door) nativeInvoke(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	entry, err := s.Admission.Enter(name)
	if err != nil {
		return fmt.Errorf("invoke %q: %w", name, err)
	}
	defer entry.End(r.Context())
	var in api.Invocation
	if err := read(r, maxNativeRequest, &in); err != nil {
		return err
	}
	request, err := in.Request(name)
	if err != nil {
		return err
	}
	request.RequestID = server.RequestIDOf(r)
	result, err := entry.Invoke(r.Context(), &request)
	if err != nil {
		return err
	}
	writeResult(w, result)
	return nil
}

func (s *door) nativeRun(w http.ResponseWriter, r *http.Request) error {
	var in api.Run
	if err := read(r, maxNativeRequest, &in); err != nil {
		return err
	}
	name, err := s.ParseFunctionName(r, in.Function.Name, "")
	if err != nil {
		return err
	}
	in.Function.Name = name.Deployment()
	request, err := in.Invocation.Request(in.Function.Name)
	if err != nil {
		return err
	}
	request.RequestID = server.RequestIDOf(r)
	result, err := once(s, r, admission.Run, in.Function.Name, func(ctx context.Context) (*dispatcher.Result, error) {
		return s.Service.RunOnce(ctx, in.Function, request)
	})
	if err != nil {
		return err
	}
	writeResult(w, result)
	return nil
}

func (s *door) nativeExplain(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	event, err := server.ReadBody(r, dispatcher.MaxEventBytes, "explain")
	if err != nil {
		return err
	}
	candidates, err := s.Service.Explain(r.Context(), name, event)
	return answer(w, http.StatusOK, candidates, err)
}

func (s *door) nativeCapture(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	var in dispatcher.Capture
	if err := read(r, maxNativeRequest, &in); err != nil {
		return err
	}
	n, err := once(s, r, admission.Capture, name, func(ctx context.Context) (*api.Snapshot, error) {
		return s.Service.CaptureArgument(ctx, name, in)
	})
	return answer(w, http.StatusCreated, shownSnapshot(r, n), err)
}

func (s *door) nativeBase(w http.ResponseWriter, r *http.Request) error {
	n, err := once(s, r, admission.Base, functions.Key(server.PrincipalOf(r).Owner, ""), func(ctx context.Context) (*api.Snapshot, error) {
		return s.Service.Base(ctx, r.PathValue("image"), r.URL.Query().Get("runtime"))
	})
	return answer(w, http.StatusCreated, n, err)
}

func (s *door) nativeImports(w http.ResponseWriter, r *http.Request) error {
	var in api.Imports
	if err := read(r, maxSmallRequest, &in); err != nil {
		return err
	}
	n, err := once(s, r, admission.Import, functions.Key(server.PrincipalOf(r).Owner, ""), func(ctx context.Context) (*api.Snapshot, error) {
		return s.Service.Import(ctx, r.PathValue("image"), in.Runtime, in.Modules)
	})
	return answer(w, http.StatusCreated, n, err)
}

func (s *door) nativePools(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Service.Pools(r.Context())
	return answer(w, http.StatusOK, list, err)
}

func (s *door) nativeSandbox(w http.ResponseWriter, _ *http.Request) error {
	server.WriteJSON(w, http.StatusOK, append([]api.Measure{}, s.Sandbox...)) // a list in any case
	return nil
}

func (s *door) nativeSockets(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Service.Instances(r.Context())
	return answer(w, http.StatusOK, shownInstances(r, list), err)
}

func (s *door) nativeRefresh(w http.ResponseWriter, r *http.Request) error {
	if s.Keys != nil {
		if err := s.Keys.Reload(); err != nil {
			return err
		}
	}
	return done(w, s.Service.Refresh(r.Context()))
}

// writeResult answers with a result, its output byte for byte as the function gave it:
// encoding/json would write it anew.
func writeResult(w http.ResponseWriter, r *dispatcher.Result) {
	rest := *r
	rest.Output = nil
	document, err := json.Marshal(&rest)
	if err != nil {
		server.WriteJSON(w, http.StatusOK, r) // which says so
		return
	}
	if len(r.Output) > 0 {
		whole := make([]byte, 0, len(document)+len(r.Output)+16)
		whole = append(append(append(whole, `{"output":`...), r.Output...), ',')
		document = append(whole, document[1:]...)
	}
	server.Send(w, document)
}
