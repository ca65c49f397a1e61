"""What Prometheus scrapes, and spans for OpenTelemetry where the recipe names a collector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..answer import Done
from .gate import Gate

TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """In a registry of its own: two services in one process don't count into each other."""

    def __init__(self, gate: Gate) -> None:
        self.registry = registry = CollectorRegistry()
        self.stages = Histogram(
            "rag_stage_seconds", "Time by stage of answering", ["stage"], buckets=BUCKETS, registry=registry
        )
        self.requests = Counter("rag_requests_total", "Requests", ["path", "status"], registry=registry)
        self.rejected = Counter("rag_rejected_total", "Requests answered with 503", ["reason"], registry=registry)
        self.abstained = Counter("rag_abstained_total", "Questions whose answer was not found", registry=registry)
        self.sentences = Counter("rag_sentences_total", "Sentences of answers", ["state"], registry=registry)
        self.tokens = Counter("rag_tokens_total", "Tokens of the language model", ["direction"], registry=registry)
        Gauge("rag_in_flight", "Questions being answered", registry=registry).set_function(lambda: gate.inside)
        Gauge("rag_waiting", "Questions that wait", registry=registry).set_function(lambda: gate.waiting)
        self.up = Gauge("rag_up", "Whether a part answers", ["part"], registry=registry)

    def timings(self, timings_ms: Mapping[str, float]) -> None:
        for stage, ms in timings_ms.items():
            self.stages.labels(stage).observe(ms / 1000)

    def done(self, done: Done) -> None:
        self.timings(done.timings_ms)
        self.abstained.inc(done.abstained)
        self.tokens.labels("prompt").inc(done.usage.prompt)
        self.tokens.labels("completion").inc(done.usage.completion)
        for checked in done.checked:
            self.sentences.labels(checked.state).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


def trace_to(collector: str | None, app: Any, name: str) -> None:
    """Spans of every request go to an OTLP collector over HTTP; nothing is made of them without one."""
    if not collector:
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    address = collector.rstrip("/")
    address = address if address.endswith("/v1/traces") else f"{address}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, excluded_urls="health,metrics,gradio_api")
