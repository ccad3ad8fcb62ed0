package tests

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"seuss/dispatcher"
)

func as[T error](err error, target *T) bool { return errors.As(err, target) }

const jsonFunction = `
import json, re, hashlib
def handler(event, context):
    text = json.dumps(event, sort_keys=True)
    return {"digest": hashlib.sha256(text.encode()).hexdigest(), "words": len(re.findall(r"\w+", text)), "id": context.aws_request_id}
`

// TestStartPaths runs one function from each kind of node and compares.
func TestStartPaths(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "json-fn", jsonFunction, nil)
	type answer struct {
		Digest string
		Words  int
		ID     string
	}
	var first answer
	for _, path := range []dispatcher.StartPath{dispatcher.PathCold, dispatcher.PathBase, dispatcher.PathFunction, ""} {
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "json-fn", Event: []byte(`{"a": [1, 2, {"b": null}]}`), MaxPath: path})
		if err != nil {
			t.Fatalf("path %q: %s", path, describe(err))
		}
		a := output[answer](t, r)
		if a.ID != r.RequestID {
			t.Errorf("path %q: the function saw request %s, it was %s", path, a.ID, r.RequestID)
		}
		if path != "" && r.Path != path {
			t.Errorf("asked for path %q, got %q", path, r.Path)
		}
		if first.Digest == "" {
			first = a
		}
		if a.Digest != first.Digest || a.Words != first.Words {
			t.Errorf("path %q: %+v, the first path gave %+v", path, a, first)
		}
		t.Logf("path %-9s total %v: shell %v deploy %v load %v run %v; copied %d mapped %d dirtied %d", r.Path, r.Timings.Total, r.Timings.Machine,
			r.Timings.Deploy, r.Timings.Load, r.Timings.Run, r.PagesCopied, r.PagesMapped, r.PagesDirtied)
	}
}

// TestRedeploy: a new version answers at once, and the old one's nodes are gone.
func TestRedeploy(t *testing.T) {
	d := open(t, nil)
	for version := range 5 {
		deploy(t, d, "versioned", fmt.Sprintf("def handler(e, c):\n    return %d\n", version), nil)
		for range 2 {
			if got := output[int](t, invoke(t, d, "versioned", `{}`)); got != version {
				t.Errorf("version %d answered %d", version, got)
			}
		}
		if nodes := d.Store().Function("versioned"); len(nodes) != 1 {
			t.Errorf("version %d: %d nodes", version, len(nodes))
		}
	}
	if err := d.RemoveFunction("versioned"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Invoke(context.Background(), dispatcher.Request{Function: "versioned", Event: []byte(`{}`)}); !errors.Is(err, dispatcher.ErrUnknownFunction) {
		t.Errorf("a removed function: %v", err)
	}
}
