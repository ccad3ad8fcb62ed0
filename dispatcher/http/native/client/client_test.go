package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	_ "seuss/dispatcher/http/native"
	"seuss/dispatcher/http/servertest"
	"seuss/lineage"
	"seuss/lineage/oci"
)

func open(t *testing.T, f *servertest.Fake) *Client {
	t.Helper()
	_, address := f.Serve(t, nil)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c := New(func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", u.Host) })
	t.Cleanup(func() { c.Close() })
	return c
}

// TestTheSameAsLocal asks the service over the wire and in this process: both give
// the same documents and the same kinds of errors.
func TestTheSameAsLocal(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "echo", "other")
	node := f.AddImage(t)
	c := open(t, f)
	ctx := t.Context()
	for name, ask := range map[string]func(api.Service) (any, error){
		"functions": func(s api.Service) (any, error) { return s.Functions(ctx) },
		"invoke": func(s api.Service) (any, error) {
			return output(s.Invoke(ctx, dispatcher.Request{Function: "echo", Event: []byte(`{"a": [1, 2]}`)}))
		},
		"a bad event": func(s api.Service) (any, error) {
			return output(s.Invoke(ctx, dispatcher.Request{Function: "echo", Event: []byte(`"\x"`)}))
		},
		"a failure": func(s api.Service) (any, error) {
			return output(s.Invoke(ctx, dispatcher.Request{Function: "echo", Event: []byte(`{"fail": "no"}`)}))
		},
		"run once": func(s api.Service) (any, error) {
			return output(s.RunOnce(ctx, dispatcher.FunctionSpec{Name: "run", Handler: "main.handler", Files: map[string][]byte{"main.py": nil}}, dispatcher.Request{Event: []byte(`1`)}))
		},
		"explain":          func(s api.Service) (any, error) { return s.Explain(ctx, "echo", []byte(`{}`)) },
		"snapshots":        func(s api.Service) (any, error) { return s.Snapshots(ctx) },
		"a snapshot":       func(s api.Service) (any, error) { return s.Snapshot(ctx, node[:10]) },
		"no snapshot":      func(s api.Service) (any, error) { return s.Snapshot(ctx, "ffffffff") },
		"inspect":          func(s api.Service) (any, error) { return s.Inspect(ctx, node[:10]) },
		"inspect nothing":  func(s api.Service) (any, error) { return s.Inspect(ctx, "ffffffff") },
		"diff of a root":   func(s api.Service) (any, error) { return s.Diff(ctx, api.Diff{B: node}) },
		"usage":            func(s api.Service) (any, error) { return s.Usage(ctx) },
		"verify":           func(s api.Service) (any, error) { return s.Verify(ctx, nil, nil) },
		"verify one":       func(s api.Service) (any, error) { return s.Verify(ctx, []string{node}, nil) },
		"verify nothing":   func(s api.Service) (any, error) { return s.Verify(ctx, []string{"ffffffff"}, nil) },
		"duplicates":       func(s api.Service) (any, error) { return s.Duplicates(ctx, nil) },
		"rebase":           func(s api.Service) (any, error) { return s.RebaseCheck(ctx, node, "ffffffff") },
		"images":           func(s api.Service) (any, error) { return s.ListImages(ctx) },
		"export":           func(s api.Service) (any, error) { return exported(s.Export(ctx, node, nil)) },
		"export nothing":   func(s api.Service) (any, error) { return exported(s.Export(ctx, "ffffffff", nil)) },
		"what gc would do": func(s api.Service) (any, error) { return s.Collect(ctx, api.GC{BudgetBytes: 1, DryRun: true}) },
		"a bad gc":         func(s api.Service) (any, error) { return s.Collect(ctx, api.GC{UnusedMS: -1}) },
		"a bad mark":       func(s api.Service) (any, error) { return nil, s.Mark(ctx, api.Mark{Action: "burn", Node: node}) },
		"pin":              func(s api.Service) (any, error) { return nil, s.Mark(ctx, api.Mark{Action: api.Pin, Node: node}) },
		"a bad form":       func(s api.Service) (any, error) { return s.Reform(ctx, node, api.Reform{Form: "zip"}) },
		"flatten nothing":  func(s api.Service) (any, error) { return s.Flatten(ctx, "ffffffff", api.Flatten{}) },
		"base":             func(s api.Service) (any, error) { return s.Base(ctx, "python", "") },
		"import":           func(s api.Service) (any, error) { return s.Import(ctx, "python", "python3.11", []string{"json"}) },
		"capture": func(s api.Service) (any, error) {
			return s.CaptureArgument(ctx, "echo", dispatcher.Capture{Event: []byte(`{}`), StopAt: "k"})
		},
		"no image":       func(s api.Service) (any, error) { return s.RemoveImage(ctx, "nobody", false) },
		"tiers":          func(s api.Service) (any, error) { return s.Tiers(ctx) },
		"pools":          func(s api.Service) (any, error) { return s.Pools(ctx) },
		"instances":      func(s api.Service) (any, error) { return s.Instances(ctx) },
		"refresh":        func(s api.Service) (any, error) { return nil, s.Refresh(ctx) },
		"remove no one":  func(s api.Service) (any, error) { return nil, s.RemoveFunction(ctx, "nobody") },
		"remove no node": func(s api.Service) (any, error) { return nil, s.RemoveSnapshot(ctx, "ffffffff", true) },
	} {
		t.Run(name, func(t *testing.T) {
			want, wantErr := ask(f)
			got, err := ask(c)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%v, want %v", err, wantErr)
			}
			if err != nil {
				if api.FaultOf(err).Code != api.FaultOf(wantErr).Code || api.FaultOf(err).Exit != api.FaultOf(wantErr).Exit {
					t.Errorf("%v is %+v, want %v, %+v", err, api.FaultOf(err), wantErr, api.FaultOf(wantErr))
				}
				return
			}
			if a, b := document(t, got), document(t, want); a != b {
				t.Errorf("%s\nwant %s", a, b)
			}
		})
	}
}

// exported is the digest of an exported image, all of whose layers can be read.
func exported(b *oci.Bundle, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	defer b.Close()
	layers, err := b.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Digest()
}

// output is what of a result depends on what was asked only.
func output(r *dispatcher.Result, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	var echo struct{ Echo json.RawMessage }
	json.Unmarshal(r.Output, &echo) // of a failure there is none
	return []any{string(echo.Echo), r.Error, r.Path, r.Pooled, r.Logs}, nil
}

func document(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestChanges: what is changed over the wire has changed in the service.
func TestChanges(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "echo")
	node := f.AddImage(t)
	c := open(t, f)
	ctx := t.Context()
	if _, err := c.Deploy(ctx, dispatcher.FunctionSpec{Name: "made", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte("x = 1")}}); err != nil || f.Spec.Name != "made" || string(f.Spec.Files["main.py"]) != "x = 1" {
		t.Errorf("%v %+v", err, f.Spec)
	}
	if err := c.RemoveFunction(ctx, "echo"); err != nil {
		t.Error(err)
	}
	if _, err := f.Function("echo"); !errors.Is(err, dispatcher.ErrUnknownFunction) {
		t.Error(err)
	}
	if err := c.Mark(ctx, api.Mark{Action: api.Tag, Node: node, Tag: "root@v1"}); err != nil {
		t.Error(err)
	}
	if n, err := f.Snapshot(ctx, "root@v1"); err != nil || n.ID != node {
		t.Error(n, err)
	}
	if err := c.RemoveSnapshot(ctx, node, false); !errors.Is(err, lineage.ErrPinned) {
		t.Error(err)
	}
	if err := c.Mark(ctx, api.Mark{Action: api.Untag, Tag: "root@v1"}); err != nil {
		t.Error(err)
	}
	if err := c.RemoveSnapshot(ctx, node, false); err != nil {
		t.Error(err)
	}
	if list, err := f.Snapshots(ctx); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}
