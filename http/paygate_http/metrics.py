"""The page that Prometheus reads: the edge's own counts, and the gateway's gauges.

Counting a request touches plain integers only; Prometheus' types are built when somebody looks.
A label is a route's template, a method, a class of status: never a merchant, never an id.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from paygate_http.metric_help import help_of

# Seconds: from what a read takes to what the longest `Prefer: wait` takes.
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)

_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Metrics(Collector):
    """Counts requests; collects itself and the gateway's gauges into one page."""

    def __init__(self, gauges: Callable[[], Mapping[str, float]]) -> None:
        self.in_flight = 0
        self._gauges = gauges
        self._requests: dict[tuple[str, str, str], int] = {}
        # Route to its buckets (the last is everything longer) and the sum of seconds.
        self._latency: dict[str, tuple[list[int], list[float]]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        known = method if method in _METHODS else "other"
        key = (route, known, f"{status // 100}xx")
        self._requests[key] = self._requests.get(key, 0) + 1
        latency = self._latency.get(route)
        if latency is None:
            latency = self._latency[route] = ([0] * (len(BUCKETS_S) + 1), [0.0])
        latency[0][bisect_left(BUCKETS_S, seconds)] += 1
        latency[1][0] += seconds

    def page(self) -> bytes:
        """Write the page in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on what has happened."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Build every family of metrics as it stands."""
        yield GaugeMetricFamily(
            "paygate_http_requests_in_flight", "Requests being handled.", self.in_flight
        )
        yield self._counts()
        yield self._histogram()
        yield from _families(self._gauges())

    def _counts(self) -> Metric:
        family = CounterMetricFamily(
            "paygate_http_requests", "Requests answered.", labels=("route", "method", "status")
        )
        for key, count in self._requests.items():
            family.add_metric(key, count)
        return family

    def _histogram(self) -> Metric:
        family = HistogramMetricFamily(
            "paygate_http_request_duration_seconds",
            "Time from the request's headers to its answer.",
            labels=("route",),
        )
        for route, (counts, seconds) in self._latency.items():
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*BUCKETS_S, float("inf")), counts, strict=True):
                total += count
                buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
            family.add_metric((route,), buckets, sum_value=seconds[0])
        return family


def _families(gauges: Mapping[str, float]) -> Iterator[Metric]:
    """Group samples by name; a name that ends with `_total` is a counter."""
    families: dict[str, Metric] = {}
    for sample, value in gauges.items():
        match = _SAMPLE.fullmatch(sample)
        if match is None:
            raise ValueError(f"no name of a metric: {sample}")
        name = match[1]
        labels = {label: _unescape(text) for label, text in _LABEL.findall(match[2] or "")}
        family = families.get(name)
        if family is None:
            family = families[name] = _family(name)
        family.add_sample(name, labels, value)
    yield from families.values()


def _family(name: str) -> Metric:
    text = help_of(name)
    if name.endswith("_total"):
        return CounterMetricFamily(name, text)
    return GaugeMetricFamily(name, text)


def _unescape(text: str) -> str:
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
