package app

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
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
		{"", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", "http://c:4318/v1/traces", ""},
		{"", "OTEL_EXPORTER_OTLP_ENDPOINT=https://c/base/", "https://c/base/v1/traces", ""},
		{"", "OTEL_EXPORTER_OTLP_ENDPOINT=c:4318", "", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318", "http://c:4318/", ""},
		{"", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://:4318", "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"},
		{"", "OTEL_SDK_DISABLED=yes", "", "OTEL_SDK_DISABLED"},
		{"http://h", "OTEL_EXPORTER_OTLP_TIMEOUT=10s", "", "OTEL_EXPORTER_OTLP_TIMEOUT"},
		{"http://h", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=brotli", "", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"},
		{"http://h", "OTEL_EXPORTER_OTLP_HEADERS=secret", "", "OTEL_EXPORTER_OTLP_HEADERS"},
		{"http://h", "OTEL_EXPORTER_OTLP_HEADERS=a=%zz", "", "OTEL_EXPORTER_OTLP_HEADERS"},
		{"http://h", "OTEL_EXPORTER_OTLP_HEADERS=a=b,x-y=%20 OTEL_EXPORTER_OTLP_TIMEOUT=5000 OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "http://h/v1/traces", ""},
		{"http://h", "OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere", "", "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{"http://h", "OTEL_EXPORTER_OTLP_CERTIFICATE=/proc/self/stat", "", "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{"http://h", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY=/nowhere", "", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"},
		{"stdout", "OTEL_BSP_MAX_QUEUE_SIZE=0", "", "OTEL_BSP_MAX_QUEUE_SIZE"},
		{"stdout", "OTEL_SPAN_EVENT_COUNT_LIMIT=many", "", "OTEL_SPAN_EVENT_COUNT_LIMIT"},
		{"stdout", "OTEL_SPAN_EVENT_COUNT_LIMIT=-1 OTEL_EXPORTER_OTLP_TIMEOUT=10s", "stdout", ""},
		{"http://h", "OTEL_TRACES_SAMPLER_ARG=NaN", "", "OTEL_TRACES_SAMPLER_ARG"},
		{"http://h", "OTEL_TRACES_SAMPLER_ARG=0.5x", "", "OTEL_TRACES_SAMPLER_ARG"},
		{"", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/x", "http://c:4318/x", ""},
		{"", "OTEL_TRACES_EXPORTER=otlp", "http://localhost:4318/v1/traces", ""},
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
		to, err := readTrace(false, traceNone, os.Getenv)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := startTracing(t.Context(), to, io.Discard, slog.New(slog.DiscardHandler))
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

// A confined daemon may reach the collector that the environment names, or the proxy on the
// way to it, and read the certificates.
func TestSandboxLetsSpansOut(t *testing.T) {
	for _, name := range []string{"http_proxy", "https_proxy", "all_proxy", "no_proxy", "NO_PROXY"} {
		t.Setenv(name, "")
	}
	for _, c := range []struct {
		to, httpProxy, httpsProxy string
		port                      uint16
		tls                       bool
	}{
		{"http://c:4318/v1/traces", "", "", 4318, false},
		{"http://c/v1/traces", "", "", 80, false},
		{"https://c/v1/traces", "", "", 443, true},
		{"https://c/v1/traces", "http://p:1", "http://p:3128", 3128, true},
		{"http://c/v1/traces", "https://p", "", 443, true},
		{"http://c/v1/traces", "socks5://p", "", 1080, false},
		{localCollector, "http://p", "", 4318, false},
	} {
		t.Setenv("HTTP_PROXY", c.httpProxy)
		t.Setenv("HTTPS_PROXY", c.httpsProxy)
		e := cmdline.NewEnv(strings.NewReader(""), io.Discard, io.Discard)
		e.Getenv = func(name string) string {
			return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.to, "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/key"}[name]
		}
		flags := cli.NewContext(cli.NewApp(), flag.NewFlagSet("", flag.ContinueOnError), nil)
		o, err := sandboxOptions(e, flags, &serveConfig{listen: listenNowhere, trace: c.to})
		if err != nil || !o.Network || o.TLS != c.tls || !slices.Equal(o.Connect, []uint16{c.port}) || !slices.Contains(o.Files, "/key") {
			t.Errorf("%+v: %+v, %v", c, o, err)
		}
	}
}

// What goes wrong with spans is told in the log, and nowhere else.
func TestTraceErrorsAreLogged(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer server.Close()
	var b bytes.Buffer
	log, err := newLog(&b, "json", slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := startTracing(t.Context(), server.URL, io.Discard, log)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tr.tracer().Start(t.Context(), "span")
	span.End()
	tr.close(log) // sends it
	var doc map[string]any
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil || doc["level"] != "WARN" || doc["msg"] != "spans are not sent" {
		t.Errorf("%q (%v)", b.String(), err)
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
