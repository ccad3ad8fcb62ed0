package app

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
)

// Where spans go: the flag, or else the environment; what is not honoured is refused by
// name.
func TestReadTrace(t *testing.T) {
	for _, c := range []struct {
		flag, env, want, refused string
	}{
		{"", "", "none", ""},
		{"none", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", "none", ""},
		{"http://h:4318", "", "http://h:4318/v1/traces", ""},
		{"https://h:4318/", "", "https://h:4318/v1/traces", ""},
		{"http://h:4318/v1/traces", "", "http://h:4318/v1/traces", ""},
		{"http://h/custom", "", "http://h/custom", ""},
		{"", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", "environment", ""},
		{"", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/x", "environment", ""},
		{"", "OTEL_TRACES_EXPORTER=otlp", "environment", ""},
		{"", "OTEL_TRACES_EXPORTER=console", "stdout", ""},
		{"", "OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://c", "none", ""},
		{"", "OTEL_SDK_DISABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=http://c", "none", ""},
		{"", "OTEL_TRACES_EXPORTER=zipkin", "", "OTEL_TRACES_EXPORTER"},
		{"http://h", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "", "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"http://h", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", "", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"},
		{"http://h", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=0.5", "http://h/v1/traces", ""},
		{"http://h", "OTEL_TRACES_SAMPLER=jaeger_remote", "", "OTEL_TRACES_SAMPLER"},
		{"http://h", "OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=2", "", "OTEL_TRACES_SAMPLER_ARG"},
		{"http://h", "OTEL_PROPAGATORS=b3", "", "OTEL_PROPAGATORS"},
		{"http://h", "OTEL_PROPAGATORS=tracecontext,baggage", "http://h/v1/traces", ""},
		{"ftp://h", "", "", "--trace"},
		{"h:4318", "", "", "--trace"},
		{"http://", "", "", "--trace"},
	} {
		env := func(name string) string {
			for pair := range strings.FieldsSeq(c.env) {
				if value, ok := strings.CutPrefix(pair, name+"="); ok {
					return value
				}
			}
			return ""
		}
		flag := c.flag
		if flag == "" {
			flag = "none"
		}
		got, err := readTrace(c.flag != "", flag, env)
		if got != c.want || (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("--trace %q, %s: %q, %v; want %q %s", c.flag, c.env, got, err, c.want, c.refused)
		}
	}
}

// What the environment says of collector, headers and resource is what a collector sees.
func TestTraceEnvironment(t *testing.T) {
	var header http.Header
	var path string
	attributes := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &in)
		}
		if err != nil {
			t.Error(err)
		}
		header, path = r.Header, r.URL.Path
		for _, spans := range in.ResourceSpans {
			for _, a := range spans.Resource.Attributes {
				attributes[a.Key] = a.Value.GetStringValue()
			}
		}
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL+"/base")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
	t.Setenv("OTEL_SERVICE_NAME", "mine")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	for sampler, sent := range map[string]bool{"always_on": true, "always_off": false} {
		t.Setenv("OTEL_TRACES_SAMPLER", sampler)
		header = nil
		tr, err := startTracing(t.Context(), traceEnvironment, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		_, span := tr.tracer().Start(t.Context(), "span")
		span.End()
		tr.close(slog.New(slog.DiscardHandler))
		if sent != (header != nil) {
			t.Errorf("%s: sent %v", sampler, header != nil)
		}
		if sent && (path != "/base/v1/traces" || header.Get("X-Key") != "secret" || attributes["service.name"] != "mine" || attributes["deployment.environment"] != "test") {
			t.Errorf("%s %v %v", path, header, attributes)
		}
	}
}

// In JSON there is no line that is none, and a duration says its unit.
func TestJSONLog(t *testing.T) {
	var b bytes.Buffer
	log, err := newLog(&b, "json", slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	e := cmdline.NewEnv(strings.NewReader(""), io.Discard, &b)
	e.TellJSON(log)
	e.Notef("a remark about %s", "this")
	log.Info("invocation", "total", 1500*time.Microsecond)
	if err := announce(e, []endpoint{{name: "http://127.0.0.1:1"}}, api.Endpoint{URL: "http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	var docs []map[string]any
	for _, l := range lines {
		var doc map[string]any
		if err := json.Unmarshal([]byte(l), &doc); err != nil {
			t.Errorf("%q: %v", l, err)
		}
		docs = append(docs, doc)
	}
	if len(docs) != 3 || docs[0]["msg"] != "a remark about this" || docs[1]["total_ms"] != 1.5 || docs[1]["total"] != nil || docs[2]["on"] == nil {
		t.Errorf("%v", docs)
	}
}
