"""What is counted: told at /metrics of the admin listener, in the text format of Prometheus.

Labels are names from the configuration and words of ours; nothing that a client or a model wrote.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway.core.breaker import State
from gateway.server.record import Receipt
from gateway.server.spending import Spent
from gateway.server.upstream import CallRecord

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LAGS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
Counted = tuple[Counter, tuple[str, ...]]  # a counter, and its labels
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


class Seconds(Collector):
    """How long requests took, as the library's histogram tells it, which takes five calls where this takes one."""

    def __init__(self, name: str, words: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._words = words
        self._numbers = [0] * (len(SECONDS) + 1)  # between two bounds
        self._sum = 0.0
        self._created = time.time()
        registry.register(self)

    def observe(self, seconds: float) -> None:
        self._numbers[bisect_left(SECONDS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterable[HistogramMetricFamily]:
        found = HistogramMetricFamily(self._name, self._words)
        bounds = map(floatToGoString, (*SECONDS, float("inf")))
        found.add_metric([], [*zip(bounds, accumulate(self._numbers), strict=True)], self._sum)
        found.add_sample(f"{self._name}_created", {}, self._created)
        yield found


class Registry(CollectorRegistry):
    """Collects what has gathered since it was last asked: adding to the library's counters costs more than a request's other sums."""

    def __init__(self) -> None:
        super().__init__()
        self._gathered: defaultdict[Counted, float] = defaultdict(int)

    def add(self, counted: Iterable[Counted], number: float = 1) -> None:
        """So many more of each of these."""
        gathered = self._gathered
        for one in counted:
            gathered[one] += number

    def collect(self) -> Iterable[Metric]:
        gathered, self._gathered = self._gathered, defaultdict(int)
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
        self.seconds = Seconds("outrider_request_seconds", "Seconds to the end of the answer", registry)
        self.first_byte = Seconds(
            "outrider_first_byte_seconds", "Seconds to the first byte that a client got", registry
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
        counted: list[Counted] = [(self.requests, (receipt.endpoint or "none", receipt.decision or "none"))]
        counted += [(self.checks, (one.watch.name, one.watch.side, one.verdict)) for one in receipt.looks]
        counted += [(self.calls, (call.upstream, _status(call))) for call in receipt.calls]
        self.registry.add(counted)
        if receipt.ended is not None:
            self.seconds.observe(receipt.ended - receipt.started)
        if receipt.first_byte is not None:
            self.first_byte.observe(receipt.first_byte - receipt.started)
        for look in receipt.looks:
            if look.spent is not None:
                self._spent(look.watch.name, look.spent)
            if look.watch.fails_open and look.failed:
                self.failed_open.labels(look.watch.name).inc()

    def _spent(self, check: str, spent: Spent) -> None:
        if (tokens := spent.tokens.get("total_tokens")) is not None:
            self.registry.add([(self.check_tokens, (check,))], tokens)
        if spent.usd is not None:
            self.registry.add([(self.check_usd, (check,))], spent.usd)

    def text(self) -> bytes:
        return generate_latest(self.registry)


def _status(call: CallRecord) -> str:
    return "cancelled" if call.cancelled else str(call.status or "none")
