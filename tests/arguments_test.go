package tests

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/lineage"
)

const lazyFunction = `
import time
built = 0
def handler(event, context):
    global built
    factor = event["factor"]
    table = {n: n * factor for n in range(event.get("rows", 1000))}
    built += 1
    print("built", len(table))
    return [table[event["query"]], built, "extra" in event]
`

func lazy(s *dispatcher.FunctionSpec) { s.Lazy = true }

// TestLazyArguments takes argument snapshots by hand and starts from them.
func TestLazyArguments(t *testing.T) {
	t.Parallel()
	d := openOwn(t, nil)
	deploy(t, d, "lazy", lazyFunction, lazy)
	t.Cleanup(func() { d.RemoveFunction("lazy") })
	ctx := context.Background()

	plain := invoke(t, d, "lazy", `{"factor": 3, "query": 7}`)
	if plain.Path != dispatcher.PathFunction || string(plain.Output) != "[21, 1, false]" {
		t.Fatalf("without argument nodes: path %s, %s", plain.Path, plain.Output)
	}
	first, err := d.CaptureArgument(ctx, "lazy", dispatcher.Capture{Event: []byte(`{"factor": 3}`), StopAt: "query"})
	if err != nil {
		t.Fatal(describe(err))
	}
	key := first.Info.Key
	if first.Info.Kind != lineage.KindArgument || key.NextKey != "query" || len(key.Args) != 2 || key.Args[0].Key != "factor" || key.Args[1].Key != "rows" {
		t.Fatalf("argument node: %+v", first.Info)
	}
	if !first.Info.Purity.Pure() {
		t.Errorf("nothing but the arguments went in, the certificate says: %v", first.Info.Purity.Reasons)
	}
	for _, c := range []struct {
		event string
		path  dispatcher.StartPath
		want  string
	}{
		{`{"factor": 3, "query": 7}`, dispatcher.PathArgument, "[21, 1, false]"},
		{`{"query": 9, "factor":3, "extra": null}`, dispatcher.PathArgument, "[27, 1, true]"},
		{`{"factor": 4, "query": 7}`, dispatcher.PathFunction, "[28, 1, false]"},
		{`{"factor": 3, "rows": 10, "query": 7}`, dispatcher.PathFunction, "[21, 1, false]"},
		{`{"factor": 3, "rows": null, "query": 7}`, dispatcher.PathFunction, ""},
	} {
		for range 2 {
			r := invoke(t, d, "lazy", c.event)
			if r.Path != c.path || c.want != "" && string(r.Output) != c.want {
				t.Errorf("%s: path %s, %s %v; want path %s, %s", c.event, r.Path, r.Output, r.Error, c.path, c.want)
			}
		}
	}
	candidates, err := d.Explain("lazy", []byte(`{"factor": 3, "query": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	chosen := slices.IndexFunc(candidates, func(c dispatcher.Candidate) bool { return c.Chosen })
	if chosen < 0 || candidates[chosen].NodeID != first.Info.ID {
		t.Errorf("explain: %+v", candidates)
	}
	for _, c := range candidates {
		if c.Reason == "" {
			t.Errorf("no reason for %+v", c)
		}
	}

	if _, err := d.CaptureArgument(ctx, "lazy", dispatcher.Capture{Event: []byte(`{"factor": 5, "rows": 10, "query": 3}`), StopAt: "never"}); !errors.Is(err, dispatcher.ErrNotAsked) {
		t.Errorf("a key that is never asked for: %v", err)
	}
	deploy(t, d, "eager", jsonFunction, nil)
	if _, err := d.CaptureArgument(ctx, "eager", dispatcher.Capture{Event: []byte(`{}`)}); !errors.Is(err, dispatcher.ErrNotLazy) {
		t.Errorf("an eager function: %v", err)
	}
}

// TestPurity: the certificate names the outside input that went into a state.
func TestPurity(t *testing.T) {
	d := open(t, nil)
	for _, c := range []struct {
		name, source string
		pure         bool
	}{
		{"arithmetic", "x = event['a'] * 2", true},
		{"printing", "print('hello')\n    x = event['a']", true},
		{"files", "open('/tmp/f', 'w').write('x')\n    x = open('/tmp/f').read() + str(event['a'])", true},
		{"wall-clock", "import time\n    x = time.time() + event['a']", false},
		{"entropy", "import os\n    x = os.urandom(4) * event['a']", false},
		{"generator", "import random\n    x = random.random() * event['a']", false},
		{"context", "x = context.aws_request_id * event['a']", false},
		{"uuid", "import uuid\n    x = str(uuid.uuid4()) * event['a']", false},
	} {
		deploy(t, d, "purity", "import random\ndef handler(event, context):\n    "+c.source+"\n    return [str(x), event['b']]\n", lazy)
		want := dispatcher.Capture{Event: []byte(`{"a": 2}`), StopAt: "b"}
		if _, err := d.CaptureArgument(t.Context(), "purity", want); (err == nil) != c.pure || err != nil && !errors.Is(err, dispatcher.ErrImpure) {
			t.Errorf("%s: without leave: %s", c.name, describe(err))
		}
		want.AllowImpure = true
		n, err := d.CaptureArgument(t.Context(), "purity", want)
		if err != nil {
			t.Errorf("%s: %s", c.name, describe(err))
			continue
		}
		if got := n.Info.Purity.Pure(); got != c.pure {
			t.Errorf("%s: pure %v, reasons %v", c.name, got, n.Info.Purity.Reasons)
		}
		if !c.pure && len(n.Info.Purity.Reasons) == 0 {
			t.Errorf("%s: impure without a reason", c.name)
		}
		want.AllowImpure = false
		if _, err := d.CaptureArgument(t.Context(), "purity", want); errors.Is(err, dispatcher.ErrImpure) == c.pure {
			t.Errorf("%s: there already, without leave: %s", c.name, describe(err))
		}
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "purity", Event: []byte(`{"a": 2, "b": 1}`), Explain: true})
		if err != nil {
			t.Fatal(describe(err))
		}
		if last := r.Candidates[len(r.Candidates)-1]; strings.Contains(last.Reason, "; impure: ") == c.pure {
			t.Errorf("%s: explained as %+v", c.name, last)
		}
	}
}

// TestAutomaticArguments: the policy takes a snapshot when a binding recurs
// and the state is pure, and never of an impure one.
func TestAutomaticArguments(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.AutoArguments = true })
	slow := "sum(i for i in range(400000))"
	deploy(t, d, "auto", "def handler(event, context):\n    x = event['a'] + "+slow+"\n    return [x, event['b']]\n", lazy)
	deploy(t, d, "auto-impure", "import time\ndef handler(event, context):\n    x = event['a'] + time.time() + "+slow+"\n    return [x > 0, event['b']]\n", lazy)
	paths := map[string][]dispatcher.StartPath{}
	for range 3 {
		for _, name := range []string{"auto", "auto-impure"} {
			r := invoke(t, d, name, `{"a": 1, "b": 2}`)
			if r.Error != nil {
				t.Fatal(r.Error)
			}
			paths[name] = append(paths[name], r.Path)
		}
	}
	if want := []dispatcher.StartPath{dispatcher.PathFunction, dispatcher.PathFunction, dispatcher.PathArgument}; !slices.Equal(paths["auto"], want) {
		t.Errorf("auto: paths %v, want %v", paths["auto"], want)
	}
	if slices.Contains(paths["auto-impure"], dispatcher.PathArgument) {
		t.Errorf("auto-impure: paths %v: an impure state was shared", paths["auto-impure"])
	}
}
