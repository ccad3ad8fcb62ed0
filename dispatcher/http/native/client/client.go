// Package client is the service in another process, over the native API: it has the
// nouns of package api, and reads none of the service's files. Its errors are those
// of the service, as far as programs tell errors apart.
//
// A Client owns its connections until Close. It has no locks; everything may be
// called from any goroutine.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/imports"
	"seuss/lineage"
)

// Client is a service in another process.
type Client struct {
	http *http.Client
	plans
	Live    Live
	Cluster Cluster
	State   State
}

var _ api.Service = (*Client)(nil)

// New makes a client of the service that dial connects to.
func New(dial func(ctx context.Context) (net.Conn, error)) *Client {
	c := &Client{http: &http.Client{Transport: &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		ExpectContinueTimeout: time.Minute,
	}}}
	c.plans, c.Live, c.Cluster, c.State = plans{c}, Live{c}, Cluster{c}, State{c}
	return c
}

// Close closes the connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// call sends a request and decodes what is answered.
func call[T any](ctx context.Context, c *Client, method, path string, in any) (out T, err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return out, fmt.Errorf("ask the daemon: %w", err)
		}
		body = bytes.NewReader(b)
	}
	return send[T](ctx, c, method, path, "application/json", body)
}

func send[T any](ctx context.Context, c *Client, method, path, kind string, body io.Reader) (out T, err error) {
	answer, err := c.open(ctx, method, path, kind, body)
	if err != nil {
		return out, err
	}
	defer answer.Body.Close()
	b, err := readAnswer(answer)
	if err != nil {
		return out, err
	}
	if answer.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("the daemon's answer: %w", err)
	}
	return out, nil
}

// maxAnswer bounds what is read of an answer into memory: the list of a million
// snapshots has less.
const maxAnswer = 1 << 30

func readAnswer(answer *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("it has more than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, fmt.Errorf("the daemon's answer: %w", err)
	}
	return b, nil
}

// nothing is what a request is answered with that only does something.
type nothing struct{}

func do(ctx context.Context, c *Client, method, path string, in any) error {
	_, err := call[nothing](ctx, c, method, path, in)
	return err
}

func functionPath(name string) string { return "/v1/functions/" + url.PathEscape(name) }
func imagePath(name string) string    { return "/v1/images/" + url.PathEscape(name) }
func snapshotPath(ref string) string  { return "/v1/snapshots/" + url.PathEscape(ref) }

// Endpoint says how other clients reach the service.
func (c *Client) Endpoint(ctx context.Context) (api.Endpoint, error) {
	return call[api.Endpoint](ctx, c, "GET", "/v1/endpoint", nil)
}

// Functions implements api.Functions.
func (c *Client) Functions(ctx context.Context) ([]api.Function, error) {
	return call[[]api.Function](ctx, c, "GET", "/v1/functions", nil)
}

// FunctionImports implements api.Functions.
func (c *Client) FunctionImports(ctx context.Context, name string) (*imports.Record, error) {
	return call[*imports.Record](ctx, c, "GET", functionPath(name)+"/imports", nil)
}

// Deploy implements api.Functions.
func (c *Client) Deploy(ctx context.Context, spec dispatcher.FunctionSpec) (*api.Snapshot, error) {
	return call[*api.Snapshot](ctx, c, "PUT", functionPath(spec.Name), spec)
}

// Update implements api.Functions.
func (c *Client) Update(ctx context.Context, name string, ask api.Update) (*api.Function, error) {
	return call[*api.Function](ctx, c, "PATCH", functionPath(name), ask)
}

// RemoveFunction implements api.Functions.
func (c *Client) RemoveFunction(ctx context.Context, deployment string) error {
	return do(ctx, c, "DELETE", functionPath(deployment), nil)
}

// checkEvent refuses what cannot stand in a document.
func checkEvent(event []byte) error {
	if !json.Valid(event) {
		return fmt.Errorf("%w: not JSON", dispatcher.ErrBadEvent)
	}
	return nil
}

// Invoke implements api.Invocations.
func (c *Client) Invoke(ctx context.Context, request dispatcher.Request) (*dispatcher.Result, error) {
	if err := checkEvent(request.Event); err != nil {
		return nil, fmt.Errorf("invoke %q: %w", request.Function, err)
	}
	return call[*dispatcher.Result](ctx, c, "POST", functionPath(request.Function)+"/invoke", api.InvocationOf(request))
}

// RunOnce implements api.Invocations.
func (c *Client) RunOnce(ctx context.Context, spec dispatcher.FunctionSpec, request dispatcher.Request) (*dispatcher.Result, error) {
	if err := checkEvent(request.Event); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	return call[*dispatcher.Result](ctx, c, "POST", "/v1/run", api.Run{Function: spec, Invocation: api.InvocationOf(request)})
}

// Explain implements api.Invocations.
func (c *Client) Explain(ctx context.Context, name string, event []byte) ([]dispatcher.Candidate, error) {
	return send[[]dispatcher.Candidate](ctx, c, "POST", functionPath(name)+"/explain", "application/json", bytes.NewReader(event))
}

// Snapshots implements api.Snapshots.
func (c *Client) Snapshots(ctx context.Context) ([]*api.Snapshot, error) {
	return call[[]*api.Snapshot](ctx, c, "GET", "/v1/snapshots", nil)
}

// Snapshot implements api.Snapshots.
func (c *Client) Snapshot(ctx context.Context, ref string) (*api.Snapshot, error) {
	return call[*api.Snapshot](ctx, c, "GET", snapshotPath(ref), nil)
}

// RemoveSnapshot implements api.Snapshots.
func (c *Client) RemoveSnapshot(ctx context.Context, ref string, cascade bool) error {
	return do(ctx, c, "DELETE", fmt.Sprintf("%s?cascade=%t", snapshotPath(ref), cascade), nil)
}

// Collect implements api.Snapshots.
func (c *Client) Collect(ctx context.Context, ask api.GC) (lineage.GCReport, error) {
	return call[lineage.GCReport](ctx, c, "POST", "/v1/gc", ask)
}

// Mark implements api.Snapshots.
func (c *Client) Mark(ctx context.Context, m api.Mark) error {
	return do(ctx, c, "POST", "/v1/marks", m)
}

// Reform implements api.Snapshots.
func (c *Client) Reform(ctx context.Context, ref string, ask api.Reform) (api.Reformed, error) {
	return call[api.Reformed](ctx, c, "POST", snapshotPath(ref)+"/form", ask)
}

// Flatten implements api.Snapshots.
func (c *Client) Flatten(ctx context.Context, ref string, ask api.Flatten) (*api.Snapshot, error) {
	return call[*api.Snapshot](ctx, c, "POST", snapshotPath(ref)+"/flatten", ask)
}

// Base implements api.Captures.
func (c *Client) Base(ctx context.Context, image, runtime string) (*api.Snapshot, error) {
	return call[*api.Snapshot](ctx, c, "POST", imagePath(image)+"/base?runtime="+url.QueryEscape(runtime), nil)
}

// Import implements api.Captures.
func (c *Client) Import(ctx context.Context, image, runtime string, modules []string) (*api.Snapshot, error) {
	return call[*api.Snapshot](ctx, c, "POST", imagePath(image)+"/imports", api.Imports{Runtime: runtime, Modules: modules})
}

// CaptureArgument implements api.Captures.
func (c *Client) CaptureArgument(ctx context.Context, function string, capture dispatcher.Capture) (*api.Snapshot, error) {
	if err := checkEvent(capture.Event); err != nil {
		return nil, fmt.Errorf("capture an argument of %q: %w", function, err)
	}
	return call[*api.Snapshot](ctx, c, "POST", functionPath(function)+"/snapshots", capture)
}

// RemoveImage implements api.Images.
func (c *Client) RemoveImage(ctx context.Context, ref string, cascade bool) (dispatcher.RemovedImage, error) {
	return call[dispatcher.RemovedImage](ctx, c, "DELETE", fmt.Sprintf("%s?cascade=%t", imagePath(ref), cascade), nil)
}

// Refresh implements api.Images.
func (c *Client) Refresh(ctx context.Context) error { return do(ctx, c, "POST", "/v1/refresh", nil) }

// Pools implements api.Pools.
func (c *Client) Pools(ctx context.Context) ([]dispatcher.PoolStats, error) {
	return call[[]dispatcher.PoolStats](ctx, c, "GET", "/v1/pools", nil)
}

// UnderWay lists what waits and runs, at most so many; after is the Next of the page before,
// or empty.
func (c *Client) UnderWay(ctx context.Context, after string, most int) (api.UnderWay, error) {
	return call[api.UnderWay](ctx, c, "GET", fmt.Sprintf("/v1/invocations?limit=%d&after=%s", most, url.QueryEscape(after)), nil)
}

// Kill ends what waits or runs under a request's id.
func (c *Client) Kill(ctx context.Context, id string) error {
	return do(ctx, c, "DELETE", "/v1/invocations/"+url.PathEscape(id), nil)
}

// Sandbox says what confines the daemon.
func (c *Client) Sandbox(ctx context.Context) ([]api.Measure, error) {
	return call[[]api.Measure](ctx, c, "GET", "/v1/sandbox", nil)
}

// Instances implements api.Pools.
func (c *Client) Instances(ctx context.Context) ([]dispatcher.Instance, error) {
	return call[[]dispatcher.Instance](ctx, c, "GET", "/v1/sockets", nil)
}
