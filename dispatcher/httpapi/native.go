package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/bundle"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/sched"
	"seuss/lineage"
)

// maxNativeRequest bounds a request of the native API that carries code: what
// functions.MaxCodeBytes takes in base64, and an event.
const maxNativeRequest = functions.MaxCodeBytes + functions.MaxCodeBytes/2 + dispatcher.MaxEventBytes

func (s *Server) nativeRoutes(mux *http.ServeMux) {
	for pattern, f := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/health":                      s.health,
		"GET /v1/functions":                   s.nativeFunctions,
		"GET /v1/functions/{name}":            s.nativeFunction,
		"PUT /v1/functions/{name}":            s.nativeDeploy,
		"DELETE /v1/functions/{name}":         s.nativeRemove,
		"GET /v1/functions/{name}/code":       s.nativeCode,
		"POST /v1/functions/{name}/invoke":    s.nativeInvoke,
		"POST /v1/functions/{name}/explain":   s.nativeExplain,
		"POST /v1/functions/{name}/snapshots": s.nativeCapture,
		"POST /v1/run":                        s.nativeRun,
		"POST /v1/images/{image}/base":        s.nativeBase,
		"POST /v1/images/{image}/imports":     s.nativeImports,
		"DELETE /v1/images/{image}":           s.nativeRemoveImage,
		"GET /v1/snapshots":                   s.nativeSnapshots,
		"GET /v1/snapshots/{id}":              s.nativeSnapshot,
		"DELETE /v1/snapshots/{id}":           s.nativeRemoveSnapshot,
		"POST /v1/snapshots/{id}/form":        s.nativeForm,
		"POST /v1/snapshots/{id}/flatten":     s.nativeFlatten,
		"POST /v1/import":                     s.nativeImport,
		"POST /v1/gc":                         s.nativeGC,
		"POST /v1/marks":                      s.nativeMark,
		"GET /v1/lineage":                     s.nativeLineage,
		"GET /v1/pools":                       s.nativePools,
		"GET /v1/instances":                   s.nativeInstances,
		"POST /v1/refresh":                    s.nativeRefresh,
	} {
		mux.HandleFunc(pattern, s.native(f))
	}
	mux.HandleFunc("GET /v1/watch", s.watch)
	mux.HandleFunc("GET /openapi.json", s.openAPI)
	mux.Handle("GET /metrics", s.metrics.handler())
}

// native adapts a handler of the native API, whose errors are api.Error.
func (s *Server) native(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			s.writeNativeError(w, r, err)
		}
	}
}

// writeNativeError answers with the document of an error.
func (s *Server) writeNativeError(w http.ResponseWriter, r *http.Request, err error) {
	doc, status := api.ErrorOf(err, requestID(r)), api.FaultOf(err).Status
	var own *apiError
	var refused *sched.RefusedError
	switch {
	case errors.As(err, &own):
		status, doc.Code, doc.Message = own.status, api.Invalid, own.message
		if own.status == http.StatusNotFound {
			doc.Code = api.NotFound
		} else if own.status == api.StatusClientGone {
			doc.Code = api.Unavailable
		}
	case errors.As(err, &refused):
		w.Header().Set("Retry-After", retryAfter(refused.RetryAfter))
	}
	if status >= 500 {
		s.log.Error("request failed", "request_id", doc.RequestID, "path", r.URL.Path, "error", err)
	}
	writeJSON(w, status, doc)
}

// read decodes a request of the native API strictly: its clients are ours.
func read(r *http.Request, limit int64, v any) error {
	b, err := readBody(r, limit, "request")
	if err != nil {
		return err
	}
	if err := api.Decode(b, v); err != nil {
		return &apiError{status: http.StatusBadRequest, message: "request: " + err.Error()}
	}
	return nil
}

// deployment checks the name in a request's path.
func (s *Server) deployment(r *http.Request) (string, error) {
	f, err := s.parseFunctionName(r.PathValue("name"), "")
	return f.deployment(), err
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	st := s.scheduler.Stats()
	h := api.Health{Status: "ok", UptimeSeconds: int64(time.Since(s.started).Seconds()), StateDir: s.backend.Store().Dir(), Scheduler: st, Events: s.events.length()}
	status := http.StatusOK
	if st.Draining {
		h.Status, status = "draining", http.StatusServiceUnavailable
	}
	writeJSON(w, status, h)
	return nil
}

func (s *Server) functionItem(f functions.Function) api.Function {
	item := api.Function{Function: f}
	for _, n := range s.backend.Store().Function(functions.BaseName(f.Name)) {
		if n.Key.CodeDigest != f.CodeDigest {
			continue // of another version
		}
		item.Nodes++
		item.StoredBytes += n.StoredBytes()
		item.Hits += n.Hits()
	}
	return item
}

func (s *Server) nativeFunctions(w http.ResponseWriter, _ *http.Request) error {
	functions, err := s.backend.Functions()
	if err != nil {
		s.log.Warn("some deployments cannot be read", "error", err)
	}
	list := []api.Function{}
	for _, f := range functions {
		list = append(list, s.functionItem(f))
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) nativeFunction(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	if name, err = s.backend.Resolve(name); err != nil {
		return err
	}
	f, err := s.backend.Function(name)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.functionItem(f))
	return nil
}

func (s *Server) nativeDeploy(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	var spec dispatcher.FunctionSpec
	if err := read(r, maxNativeRequest, &spec); err != nil {
		return err
	}
	spec.Name = name
	n, err := s.backend.Deploy(r.Context(), spec)
	return s.answerNode(w, http.StatusCreated, n, err)
}

func (s *Server) answerNode(w http.ResponseWriter, status int, n *lineage.Node, err error) error {
	if err != nil {
		return err
	}
	writeJSON(w, status, s.snapshot(n))
	return nil
}

func (s *Server) nativeRemove(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	if err := s.backend.RemoveFunction(name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) nativeCode(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	f, err := s.backend.Function(name)
	if err != nil {
		return err
	}
	files, _, err := s.backend.FunctionFiles(f)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/zip")
	if err := bundle.WriteZip(w, files); err != nil {
		panic(http.ErrAbortHandler) // a client must not take half of it for all
	}
	return nil
}

func (s *Server) nativeInvoke(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	if err := s.check(name); err != nil {
		return err
	}
	var in api.Invocation
	if err := read(r, maxNativeRequest, &in); err != nil {
		return err
	}
	request := in.Request(name)
	request.RequestID = requestID(r)
	_, err = s.run(r.Context(), &request, func(result *dispatcher.Result) {
		writeResult(w, result)
		sent(w)
	})
	return err
}

func (s *Server) nativeRun(w http.ResponseWriter, r *http.Request) error {
	var in api.Run
	if err := read(r, maxNativeRequest, &in); err != nil {
		return err
	}
	ticket, err := s.scheduler.Acquire(r.Context(), "", -1)
	if err != nil {
		return s.cancelled(r.Context(), err)
	}
	defer ticket.Release()
	request := in.Invocation.Request(in.Function.Name)
	request.RequestID = requestID(r)
	result, err := s.backend.RunOnce(r.Context(), in.Function, request)
	if err != nil {
		return err
	}
	writeResult(w, result)
	return nil
}

func (s *Server) nativeExplain(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	event, err := readBody(r, dispatcher.MaxEventBytes, "explain")
	if err != nil {
		return err
	}
	candidates, err := s.backend.Explain(name, event)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, candidates)
	return nil
}

func (s *Server) nativeCapture(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	var in api.Capture
	if err := read(r, maxNativeRequest, &in); err != nil {
		return err
	}
	n, err := s.backend.CaptureArgument(r.Context(), name, in.Event, in.StopAt)
	return s.answerNode(w, http.StatusCreated, n, err)
}

func (s *Server) nativeBase(w http.ResponseWriter, r *http.Request) error {
	n, err := s.backend.Base(r.Context(), r.PathValue("image"))
	return s.answerNode(w, http.StatusCreated, n, err)
}

func (s *Server) nativeImports(w http.ResponseWriter, r *http.Request) error {
	var in api.Imports
	if err := read(r, maxConfigRequest, &in); err != nil {
		return err
	}
	n, err := s.backend.Import(r.Context(), r.PathValue("image"), in.Modules)
	return s.answerNode(w, http.StatusCreated, n, err)
}

func (s *Server) nativePools(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, s.backend.Pools())
	return nil
}

func (s *Server) nativeInstances(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, s.backend.Instances())
	return nil
}

// nativeRefresh makes the state directory show what the daemon knows, and the
// daemon see what was put there beside it (images).
func (s *Server) nativeRefresh(w http.ResponseWriter, _ *http.Request) error {
	if err := s.backend.Refresh(); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// writeResult writes a result with the output byte for byte as the function gave
// it: encoding/json would write it anew.
func writeResult(w http.ResponseWriter, r *dispatcher.Result) {
	rest := *r
	rest.Output = nil
	b, err := json.Marshal(&rest)
	if err != nil || len(r.Output) == 0 {
		writeJSON(w, http.StatusOK, r)
		return
	}
	answer := make([]byte, 0, len(b)+len(r.Output)+16)
	answer = append(answer, `{"output":`...)
	answer = append(append(answer, r.Output...), ',')
	answer = append(answer, b[1:]...)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.Write(answer)
}
