"""Metrics: what a server did, as Prometheus reads it; one registry an app, so that several can live in a process."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters, and how long what took.

    Example:
        >>> metrics = Metrics()
        >>> metrics.request("GET", "/search", 200, 0.02)
        >>> 'hashret_requests_total{method="GET",route="/search",status="200"} 1.0' in metrics.text().decode()
        True
    """

    def __init__(self) -> None:
        """Start at zero."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        keep: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("hashret_requests", "Requests answered.", ("method", "route", "status"), **keep)
        self._seconds = Histogram(
            "hashret_request_seconds", "From the first byte to the answer.", ("route",), buckets=_SECONDS, **keep
        )
        self._parts = Histogram(
            "hashret_search_part_seconds", "Time of a search, by what took it.", ("part",), buckets=_SECONDS, **keep
        )
        self.batches = Histogram(
            "hashret_batch_size",
            "Queries that went through the encoder together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            **keep,
        )
        self.ready = Gauge("hashret_ready", "1 once the model is loaded.", **keep)
        self.waiting = Gauge("hashret_queue_length", "Queries in line for the encoder.", **keep)
        self.items = Gauge("hashret_items", "Items that can be found, by side.", ("side",), **keep)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def part(self, name: str, seconds: float) -> None:
        """Note what a part of a search took."""
        self._parts.labels(name).observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus's text form."""
        return generate_latest(self._registry)
