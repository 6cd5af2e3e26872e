package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Tracing sends traces to an OpenTelemetry collector. The zero value sends none
// and costs nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
}

// propagator carries a trace from a caller and to whom we call.
var propagator = propagation.TraceContext{}

// NewTracing sends to an OTLP collector over HTTP; ratio is the part of traces
// begun here that is kept. What callers have decided is kept to.
func NewTracing(ctx context.Context, endpoint, version string, ratio float64, timeout time.Duration, log *slog.Logger) (*Tracing, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	// The endpoint is that of all signals, as the specification of the variable has
	// it; traces have a path below.
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(base.JoinPath("v1", "traces").String()), otlptracehttp.WithTimeout(timeout))
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces cannot be sent", "error", err) }))
	about := resource.NewSchemaless(semconv.ServiceName("clouddriver"), semconv.ServiceVersion(version))
	return &Tracing{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
	)}, nil
}

// Tracer makes spans.
func (t *Tracing) Tracer() trace.Tracer {
	if t.provider == nil {
		return noop.NewTracerProvider().Tracer("")
	}
	return t.provider.Tracer("github.com/datapunchorg/go-clouddriver")
}

// Handler has a span for each request of the API. Streams and probes have none:
// the ones last for hours, the others tell nothing.
func (t *Tracing) Handler(next http.Handler) http.Handler {
	if t.provider == nil {
		return next
	}
	return otelhttp.NewHandler(next, "clouddriver", otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagator),
		otelhttp.WithFilter(func(r *http.Request) bool { return !silent(r) }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }))
}

func silent(r *http.Request) bool {
	switch r.URL.Path {
	case "/health", "/health/liveness", "/health/readiness", "/readyz", "/metrics":
		return true
	}
	return r.Header.Get("Accept") == "text/event-stream"
}

// Transport has a span for each request to a cluster that belongs to a trace:
// watches, which belong to none, have none.
func (t *Tracing) Transport(next http.RoundTripper) http.RoundTripper {
	if t.provider == nil {
		return next
	}
	return otelhttp.NewTransport(next, otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagator),
		otelhttp.WithFilter(func(r *http.Request) bool { return trace.SpanContextFromContext(r.Context()).IsValid() }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " cluster" }))
}

// Close sends what is left, within the context's time.
func (t *Tracing) Close(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}
