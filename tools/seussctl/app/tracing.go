package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tracing is where spans go; nil provider: nowhere.
type tracing struct{ provider *sdktrace.TracerProvider }

// startTracing opens the exporter that --trace names.
func startTracing(ctx context.Context, to string, stdout io.Writer) (*tracing, error) {
	var exporter sdktrace.SpanExporter
	var err error
	switch to {
	case "none":
		return &tracing{}, nil
	case "stdout":
		exporter, err = stdouttrace.New(stdouttrace.WithWriter(stdout))
	default:
		exporter, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(to))
	}
	if err != nil {
		return nil, fmt.Errorf("trace to %s: %w", to, err)
	}
	return &tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "seuss"))))}, nil
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
