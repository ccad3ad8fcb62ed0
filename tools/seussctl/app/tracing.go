package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"seuss/tools/seussctl/version"
)

// tracing is where spans go; nil provider: nowhere.
type tracing struct{ provider *sdktrace.TracerProvider }

// startTracing opens the exporter that readTrace has found.
func startTracing(ctx context.Context, to string, stdout io.Writer, log *slog.Logger) (*tracing, error) {
	if to != traceNone { // what goes wrong there is told in this program's log
		otel.SetLogger(logr.FromSlogHandler(log.Handler()))
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("spans are not sent", "error", err) }))
	}
	var exporter sdktrace.SpanExporter
	var err error
	switch to {
	case traceNone:
		return &tracing{}, nil
	case traceStdout:
		exporter, err = stdouttrace.New(stdouttrace.WithWriter(stdout))
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
