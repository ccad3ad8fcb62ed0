package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"seuss/tools/seussctl/version"
)

// Where spans go beside a URL: nowhere, to stdout, and to where the environment says.
const (
	traceNone        = "none"
	traceStdout      = "stdout"
	traceEnvironment = "environment"
)

// tracesPath is that of OTLP over HTTP ("OpenTelemetry Protocol Exporter").
const tracesPath = "/v1/traces"

// readTrace says where spans go: what --trace says, or else the variables of OpenTelemetry
// ("Environment Variable Specification"). Those that the exporter and the SDK read
// themselves are honoured (endpoints, headers, timeouts, compression, certificates, the
// sampler, limits, batches, the resource); a value that they cannot honour is refused by
// name.
func readTrace(given bool, to string, getenv func(string) string) (string, error) {
	refuse := func(name, why string) error { return fmt.Errorf("$%s is %q: %s", name, getenv(name), why) }
	endpoint := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	if !given {
		switch exporter := getenv("OTEL_TRACES_EXPORTER"); {
		case strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true"), exporter == "none":
			to = traceNone
		case exporter == "otlp", exporter == "" && endpoint:
			to = traceEnvironment
		case exporter == "console":
			to = traceStdout
		case exporter != "":
			return "", refuse("OTEL_TRACES_EXPORTER", "want otlp, console or none")
		}
	}
	switch to {
	case traceNone:
		return to, nil
	case traceStdout, traceEnvironment:
	default:
		u, err := url.Parse(to)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "", fmt.Errorf("--trace %s: must be none, stdout, or an http:// or https:// URL", to)
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = tracesPath // it is a collector's base URL
		}
		to = u.String()
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if p := getenv(name); p != "" && p != "http/protobuf" && to != traceStdout {
			return "", refuse(name, "spans are sent as http/protobuf alone")
		}
	}
	samplers := []string{"", "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}
	if !slices.Contains(samplers, strings.ToLower(strings.TrimSpace(getenv("OTEL_TRACES_SAMPLER")))) {
		return "", refuse("OTEL_TRACES_SAMPLER", "want one of "+strings.Join(samplers[1:], ", "))
	}
	if arg := getenv("OTEL_TRACES_SAMPLER_ARG"); arg != "" {
		var ratio float64
		if _, err := fmt.Sscan(arg, &ratio); err != nil || ratio < 0 || ratio > 1 {
			return "", refuse("OTEL_TRACES_SAMPLER_ARG", "want a number from 0 to 1")
		}
	}
	if p := getenv("OTEL_PROPAGATORS"); p != "" {
		for name := range strings.SplitSeq(p, ",") {
			if name = strings.TrimSpace(name); name != "tracecontext" && name != "baggage" {
				return "", refuse("OTEL_PROPAGATORS", "traces come in by tracecontext (traceparent) alone")
			}
		}
	}
	return to, nil
}

// tracing is where spans go; nil provider: nowhere.
type tracing struct{ provider *sdktrace.TracerProvider }

// startTracing opens the exporter that readTrace has found.
func startTracing(ctx context.Context, to string, stdout io.Writer) (*tracing, error) {
	var exporter sdktrace.SpanExporter
	var err error
	switch to {
	case traceNone:
		return &tracing{}, nil
	case traceStdout:
		exporter, err = stdouttrace.New(stdouttrace.WithWriter(stdout))
	case traceEnvironment:
		exporter, err = otlptracehttp.New(ctx)
	default:
		exporter, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(to))
	}
	if err != nil {
		return nil, fmt.Errorf("trace to %s: %w", to, err)
	}
	// Attributes of the environment come last: they are the operator's.
	described, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "seuss"), attribute.String("service.version", version.Number)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("$OTEL_RESOURCE_ATTRIBUTES %q: %w", os.Getenv("OTEL_RESOURCE_ATTRIBUTES"), err)
	}
	return &tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))}, nil
}

func (t *tracing) tracer() trace.Tracer {
	if t.provider == nil {
		return nil
	}
	return t.provider.Tracer("seuss/dispatcher/admission")
}

// close sends what is left.
func (t *tracing) close(log *slog.Logger) {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		log.Warn("spans are lost", "error", err)
	}
}
