package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/lineage"
)

// remote is an engine in another process: the daemon on the same state
// directory. What is stored is read from the directory itself.
type remote struct {
	client   *http.Client
	stateDir string
	store    *lineage.Store
}

var _ engine = (*remote)(nil)

func newRemote(stateDir, socket string) *remote {
	return &remote{stateDir: stateDir, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, socket) },
	}}}
}

var errNoRead = errors.New("the daemon's state directory cannot be read")

// call sends a request; in and out may be nil.
func (r *remote) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("ask the daemon: %w", err)
		}
		body = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://seuss"+path, body)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	return r.do(request, out)
}

func (r *remote) do(request *http.Request, out any) error {
	answer, err := r.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	if answer.StatusCode >= 300 {
		return decodeRemoteError(answer, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	return nil
}

func decodeRemoteError(answer *http.Response, b []byte) error {
	var doc api.Error
	if err := json.Unmarshal(b, &doc); err != nil || doc.Message == "" {
		return fmt.Errorf("the daemon answered %s", answer.Status)
	}
	return doc.Err()
}

// Store returns what the state directory holds now. Nil if it cannot be read.
func (r *remote) Store() *lineage.Store {
	if r.store == nil {
		r.store, _ = lineage.Open(r.stateDir, lineage.Options{ReadOnly: true})
	}
	return r.store
}

// node finds the node that the daemon has just made.
func (r *remote) node(ctx context.Context, method, path string, in any) (*lineage.Node, error) {
	var made api.Snapshot
	if err := r.call(ctx, method, path, in, &made); err != nil {
		return nil, err
	}
	if err := r.closeStore(); err != nil { // it does not know the node
		return nil, err
	}
	s := r.Store()
	if s == nil {
		return nil, errNoRead
	}
	return s.Get(made.ID)
}

func (r *remote) closeStore() error {
	if r.store == nil {
		return nil
	}
	s := r.store
	r.store = nil
	return s.Close()
}

func functionPath(name string) string { return "/v1/functions/" + url.PathEscape(name) }
func imagePath(name string) string    { return "/v1/images/" + url.PathEscape(name) }

func (r *remote) Base(ctx context.Context, image string) (*lineage.Node, error) {
	return r.node(ctx, "POST", imagePath(image)+"/base", nil)
}

func (r *remote) Import(ctx context.Context, image string, modules []string) (*lineage.Node, error) {
	return r.node(ctx, "POST", imagePath(image)+"/imports", api.Imports{Modules: modules})
}

func (r *remote) Deploy(ctx context.Context, spec dispatcher.FunctionSpec) (*lineage.Node, error) {
	return r.node(ctx, "PUT", functionPath(spec.Name), spec)
}

func (r *remote) Invoke(ctx context.Context, request dispatcher.Request) (*dispatcher.Result, error) {
	var result dispatcher.Result
	if err := r.call(ctx, "POST", functionPath(request.Function)+"/invoke", api.InvocationOf(request), &result); err != nil {
		return nil, err
	}
	return &result, nil
}

func (r *remote) RunOnce(ctx context.Context, spec dispatcher.FunctionSpec, request dispatcher.Request) (*dispatcher.Result, error) {
	var result dispatcher.Result
	if err := r.call(ctx, "POST", "/v1/run", api.Run{Function: spec, Invocation: api.InvocationOf(request)}, &result); err != nil {
		return nil, err
	}
	return &result, nil
}

func (r *remote) CaptureArgument(ctx context.Context, function string, event []byte, stopAt string) (*lineage.Node, error) {
	return r.node(ctx, "POST", functionPath(function)+"/snapshots", api.Capture{Event: event, StopAt: stopAt})
}

func (r *remote) BenchDepth(context.Context, []int, int) (map[int][]time.Duration, error) {
	return nil, errors.New("a daemon serves this state directory, and what it does would be measured too; name another one with --state, or stop it")
}

// refresh makes the state directory show what the daemon knows (use counts), and
// the daemon look for images that were put there.
func (r *remote) refresh(ctx context.Context) error {
	return r.call(ctx, "POST", "/v1/refresh", nil, nil)
}

func (r *remote) removeFunction(ctx context.Context, name string) error {
	return r.call(ctx, "DELETE", functionPath(name), nil, nil)
}

func (r *remote) removeNode(ctx context.Context, id string, cascade bool) error {
	return r.call(ctx, "DELETE", fmt.Sprintf("/v1/snapshots/%s?cascade=%t", url.PathEscape(id), cascade), nil, nil)
}

func (r *remote) removeImage(ctx context.Context, ref string, cascade bool) (api.RemovedImage, error) {
	var removed api.RemovedImage
	err := r.call(ctx, "DELETE", fmt.Sprintf("%s?cascade=%t", imagePath(ref), cascade), nil, &removed)
	return removed, err
}

func (r *remote) Close() error {
	r.client.CloseIdleConnections()
	return r.closeStore()
}
