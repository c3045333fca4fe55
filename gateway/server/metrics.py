"""What is counted: told at /metrics of the admin listener, in the text format of Prometheus.

Labels are names from the configuration and words of ours; nothing that a client or a model wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.core.breaker import State
from gateway.core.terms import Outcome
from gateway.server.record import Look, Receipt

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LAGS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
BREAKER = {State.CLOSED: 0, State.PROBING: 1, State.OPEN: 2}


class Breakers(Collector):
    """The breakers as they stand at the moment of the question."""

    def __init__(self, states: Callable[[], Iterable[tuple[str, State]]]) -> None:
        self._states = states

    def collect(self) -> Iterable[GaugeMetricFamily]:
        found = GaugeMetricFamily(
            "outrider_breaker_state",
            "Of each model and service that checks call: 0 closed, 1 half-open, 2 open",
            labels=["target"],
        )
        for target, state in self._states():
            found.add_metric([target], BREAKER[state])
        yield found


class Registry(CollectorRegistry):
    """Collects what has gathered since it was last asked: adding to the library's counters costs more than a request's other sums."""

    def __init__(self) -> None:
        super().__init__()
        self._gathered: dict[tuple[Counter, tuple[str, ...]], int] = {}

    def add(self, counter: Counter, *labels: str) -> None:
        """One more of these."""
        key = (counter, labels)
        self._gathered[key] = self._gathered.get(key, 0) + 1

    def collect(self) -> Iterable[Metric]:
        gathered, self._gathered = self._gathered, {}
        for (counter, labels), number in gathered.items():
            counter.labels(*map(str, labels)).inc(number)
        return super().collect()


class Metrics:
    """All counters of one gateway."""

    def __init__(self) -> None:
        self.registry = registry = Registry()
        self.counted = 0  # requests
        self.requests = Counter(
            "outrider_requests", "Requests by what became of them", ["endpoint", "decision"], registry=registry
        )
        self.seconds = Histogram(
            "outrider_request_seconds", "Seconds to the end of the answer", buckets=SECONDS, registry=registry
        )
        self.first_byte = Histogram(
            "outrider_first_byte_seconds",
            "Seconds to the first byte that a client got",
            buckets=SECONDS,
            registry=registry,
        )
        self.checks = Counter(
            "outrider_checks", "Looks of checks by what they found", ["check", "side", "verdict"], registry=registry
        )
        self.failed_open = Counter(
            "outrider_failed_open",
            "Looks that failed and were allowed to: text went unchecked",
            ["check"],
            registry=registry,
        )
        self.check_tokens = Counter(
            "outrider_check_tokens", "Tokens that checks spent on models", ["check"], registry=registry
        )
        self.check_usd = Counter(
            "outrider_check_usd", "What they cost, where prices are configured", ["check"], registry=registry
        )
        self.calls = Counter(
            "outrider_upstream_calls", "Upstream calls by how they ended", ["upstream", "status"], registry=registry
        )
        self.reloads = Counter("outrider_policy_reloads", "Reloads of the policies", ["outcome"], registry=registry)
        self.refused = Gauge("outrider_policies_refused", "1 while the newest policies are refused", registry=registry)
        self.receipts = Counter(
            "outrider_receipts", "Receipts kept, lost, and attempts that failed", ["outcome"], registry=registry
        )
        self.in_flight = Gauge("outrider_in_flight", "Requests under way", registry=registry)
        self.admitted = Gauge("outrider_admitted", "Requests that have a place", registry=registry)
        self.queued = Gauge("outrider_queued", "Requests that wait for a place", registry=registry)
        self.queue_seconds = Histogram(
            "outrider_queue_seconds", "Seconds in the queue, of those that waited", buckets=SECONDS, registry=registry
        )
        self.shed = Counter(
            "outrider_shed",
            "Sent away with 503: full, waited (in vain), memory; or an answer broken off for want of memory",
            ["reason"],
            registry=registry,
        )
        self.memory_held = Gauge(
            "outrider_memory_held_bytes", "Bodies and held answers of all requests", registry=registry
        )
        self.lag = Histogram(
            "outrider_loop_lag_seconds",
            "How late the event loop was, looked at twice a second",
            buckets=LAGS,
            registry=registry,
        )

    def watch_breakers(self, states: Callable[[], Iterable[tuple[str, State]]]) -> None:
        self.registry.register(Breakers(states))

    def count(self, receipt: Receipt) -> None:
        """One finished request."""
        self.counted += 1
        self.registry.add(self.requests, receipt.endpoint or "none", receipt.decision or "none")
        if receipt.ended is not None:
            self.seconds.observe(receipt.ended - receipt.started)
        if receipt.first_byte is not None:
            self.first_byte.observe(receipt.first_byte - receipt.started)
        for look in receipt.looks:
            self._look(look)
        for call in receipt.calls:
            status = "cancelled" if call.cancelled else str(call.status or "none")
            self.registry.add(self.calls, call.upstream, status)

    def _look(self, look: Look) -> None:
        found, name = look.finding, look.watch.name
        verdict = found.outcome if found is not None else "dropped" if look.dropped else "unfinished"
        self.registry.add(self.checks, name, look.watch.side, verdict)
        if look.spent is not None:
            if (tokens := look.spent.tokens.get("total_tokens")) is not None:
                self.check_tokens.labels(name).inc(tokens)
            if look.spent.usd is not None:
                self.check_usd.labels(name).inc(look.spent.usd)
        if found is not None and found.outcome is Outcome.FAILED and look.watch.fails_open:
            self.failed_open.labels(name).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)
