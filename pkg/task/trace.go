package task

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const traceparent = "traceparent"

// traceOf is the trace that a request belongs to, "" for none.
func traceOf(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}

// traced begins a task's span within its request's trace.
func (e *execution) traced(ctx context.Context) (context.Context, trace.Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: e.context.Trace})
	return e.options.Tracer.Start(ctx, "task", trace.WithAttributes(
		attribute.String("task", e.task.ID), attribute.String("application", e.context.Application), attribute.String("execution", e.context.ExecutionID),
	))
}

// spanOf begins an operation's.
func (e *execution) spanOf(ctx context.Context, operation, account string) (context.Context, trace.Span) {
	return e.options.Tracer.Start(ctx, operation, trace.WithAttributes(attribute.String("account", account)))
}

// endSpan ends a span with what came of it.
func endSpan(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
