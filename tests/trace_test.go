package tests

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"seuss/dispatcher"
)

// TestSpans: a client's trace goes on in the spans that an OTLP collector gets:
// one for the invocation, below the client's span, one for each phase below that,
// within its time, and one for the reset that follows.
func TestSpans(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	spans := map[string][]*tracepb.Span{} // by trace
	service := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &in)
		}
		if err != nil || r.Method != "POST" || r.URL.Path != "/v1/traces" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range in.ResourceSpans {
			for _, a := range resource.Resource.Attributes {
				if a.Key == "service.name" {
					service = a.Value.GetStringValue()
				}
			}
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					id := hex.EncodeToString(s.TraceId)
					spans[id] = append(spans[id], s)
				}
			}
		}
		answer, err := proto.Marshal(&collector.ExportTraceServiceResponse{})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(answer)
	}))
	defer server.Close()
	d := startDaemon(t, "--trace", server.URL)
	d.create("echo", "def handler(e, c):\n    if e.get('fail'): raise ValueError('no')\n    return e\n", nil)
	const trace, failing, client = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for id, event := range map[string]string{trace: `{}`, failing: `{"fail": 1}`} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", d.url+"/2015-03-31/functions/echo/invocations", strings.NewReader(event))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("traceparent", "00-"+id+"-"+client+"-01")
		resp, err := d.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		waitForResets(d) // or the next request takes the machine as it is
	}
	d.wantOutput("echo", `{}`, `{}`) // of no client's trace
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	mu.Lock()
	defer mu.Unlock()
	if service != "seuss" || len(spans) != 3 {
		t.Errorf("service %q, %d traces", service, len(spans))
	}
	for _, id := range []string{trace, failing} {
		byName := map[string]*tracepb.Span{}
		for _, s := range spans[id] {
			byName[s.Name] = s
		}
		root := byName["invoke echo"]
		if root == nil || hex.EncodeToString(root.ParentSpanId) != client || root.Kind != tracepb.Span_SPAN_KIND_SERVER {
			t.Fatalf("trace %s: %v", id, spans[id])
		}
		if failed := root.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR; failed != (id == failing) {
			t.Errorf("trace %s: status %v", id, root.Status)
		}
		attributes := map[string]string{}
		for _, a := range root.Attributes {
			attributes[a.Key] = a.Value.GetStringValue()
		}
		if attributes["faas.name"] != "echo" || attributes["seuss.path"] != "function" || len(attributes["seuss.node"]) != 64 || len(attributes["faas.invocation_id"]) != 36 {
			t.Errorf("attributes %v", attributes)
		}
		last := root.StartTimeUnixNano
		for _, name := range []string{"wait", "match", "shell", "deploy", "run"} {
			s := byName[name]
			if s == nil {
				t.Errorf("trace %s has no span %q", id, name)
				continue
			}
			if string(s.ParentSpanId) != string(root.SpanId) || s.StartTimeUnixNano < last || s.EndTimeUnixNano < s.StartTimeUnixNano || s.EndTimeUnixNano > root.EndTimeUnixNano {
				t.Errorf("span %q: parent %x of %x, from %d to %d within %d to %d", name, s.ParentSpanId, root.SpanId, s.StartTimeUnixNano, s.EndTimeUnixNano, root.StartTimeUnixNano, root.EndTimeUnixNano)
			}
			last = s.EndTimeUnixNano
		}
		// Nobody waited for the machine: its reset comes after the run.
		if s := byName["reset"]; s == nil || string(s.ParentSpanId) != string(root.SpanId) || s.StartTimeUnixNano < last || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("trace %s: reset %v after %d", id, s, last)
		}
	}
}

// waitForResets waits until every machine that is free stands ready.
func waitForResets(d *daemon) {
	d.Helper()
	d.until("machines are reset", func() bool {
		var pools []dispatcher.PoolStats
		d.get("/v1/pools", &pools)
		return !slices.ContainsFunc(pools, busy)
	})
}
