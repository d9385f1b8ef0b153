"""OpenTelemetry traces, where somebody wants them: `pip install 'queuebit[otel]'` and OTEL_* set.

Without both, nothing is imported and a span is a `nullcontext`.
"""

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanContext

log = logging.getLogger(__name__)

JOBS_MAX = 10_000  # whose request is remembered; stages of older ones begin a trace of their own
# What says that somebody collects traces. The exporter reads these itself, and many more.
_WANTED = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


class Traces:
    """Makes spans; those of a job's stages belong to the request that submitted it.

    Workers make none: a span around what a worker does is made here, and tells what it measured.
    """

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        """None: nobody collects them."""
        self._provider = provider
        self._tracer = None if provider is None else provider.get_tracer("queuebit")
        self._requests: OrderedDict[str, SpanContext] = OrderedDict()

    @property
    def on(self) -> bool:
        """Whether anybody collects them."""
        return self._tracer is not None

    def request(self, name: str) -> "AbstractContextManager[Span | None]":
        """A span around a request. What the client says of its own trace is not believed."""
        if self._tracer is None:
            return nullcontext()
        from opentelemetry import context, trace  # noqa: PLC0415 - only where it is wanted

        return self._tracer.start_as_current_span(
            name, context=context.Context(), kind=trace.SpanKind.SERVER, record_exception=False
        )

    def span(self, name: str, **attributes: Any) -> "AbstractContextManager[Span | None]":
        """A span inside the one under way."""
        if self._tracer is None:
            return nullcontext()
        return self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False
        )

    def remember(self, job_id: str) -> None:
        """Have the stages of a job belong to the request under way."""
        if self._tracer is None:
            return
        from opentelemetry import trace  # noqa: PLC0415 - only where it is wanted

        self._requests[job_id] = trace.get_current_span().get_span_context()
        while len(self._requests) > JOBS_MAX:
            self._requests.popitem(last=False)

    def stage(
        self, name: str, job_id: str, **attributes: Any
    ) -> "AbstractContextManager[Span | None]":
        """A span around a stage of a job."""
        if self._tracer is None:
            return nullcontext()
        from opentelemetry import context, trace  # noqa: PLC0415 - only where it is wanted

        request = self._requests.get(job_id)
        parent = context.Context()
        if request is not None:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(request), parent)
        return self._tracer.start_as_current_span(
            name, context=parent, attributes={"job": job_id, **attributes}, record_exception=False
        )

    def close(self) -> None:
        """Send what is still to be sent."""
        if self._provider is not None:
            self._provider.shutdown()


def open_traces(environment: Mapping[str, str] | None = None) -> Traces:
    """Traces as the standard variables OTEL_* have it; none if they say nothing."""
    variables = os.environ if environment is None else environment
    disabled = variables.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = variables.get("OTEL_TRACES_EXPORTER", "otlp")
    if disabled or exporter == "none" or not any(variables.get(name) for name in _WANTED):
        return Traces()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ImportError:
        log.warning("OTEL_* asks for traces, which need: pip install 'queuebit[otel]'")
        return Traces()
    if exporter != "otlp":
        log.warning("only OTLP over HTTP is there", extra={"OTEL_TRACES_EXPORTER": exporter})
        return Traces()
    name = variables.get("OTEL_SERVICE_NAME", "queuebit")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)
