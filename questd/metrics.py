"""Metrics for Prometheus: what all processes have counted, and how every queue is, in the text that it scrapes.

It owns the names of the metrics. What they say is counted elsewhere (counts.py, figures.py), and nothing here is kept.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import add
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from questd import errors, registry
from questd.action import Questd
from questd.counts import BOUNDS_MS, ERRORS, NOW, Page
from questd.figures import Figures, figures

QUEUES = 1000
"""Queues that a scrape looks at, in the order of their names. So many cost Redis 20 ms, and the console 50 (measured);
Prometheus has seven series of each."""

NS = 1e-9

PROCESS_GAUGES = {
    "connections": "Clients that are connected.",
    "requests_in_flight": "Requests that are being answered; receives that wait are none.",
    "long_polls_waiting": "Receives that wait for messages.",
    "redis_calls_waiting": "Calls that wait for Redis's reply.",
}

PROCESS_SUMS = {
    "redis_calls": ("redis_calls", 1, "Calls of Redis: each runs one function."),
    "redis_writes": ("redis_writes", 1, "Round trips to Redis: the calls of one moment are written together."),
    "redis_calls_merged": ("redis_calls_merged", 1, "Calls that another one's function did too."),
    "long_poll_ns": ("long_poll_seconds", NS, "Time that receives have waited for messages."),
    "cpu_ns": ("cpu_seconds", NS, "CPU time."),
}
"""By their names in the counts: the metric, its unit, its help."""

STATES = ("visible", "in_flight", "delayed")

QUEUE_FIGURES: dict[str, tuple[type[CounterMetricFamily | GaugeMetricFamily], str, Callable[[Figures], float]]] = {
    "oldest_message_seconds": (GaugeMetricFamily, "Age of the oldest message.", lambda each: each.age_ms / 1000),
    "noisy_groups": (GaugeMetricFamily, "Message groups that wait for the others.", lambda each: each.noisy_groups),
    "paused": (GaugeMetricFamily, "Whether it hands nothing out.", lambda each: each.paused),
    "dead_letters": (CounterMetricFamily, "Messages that went to its DLQ.", lambda each: each.dead_lettered),
}
"""By the metric: its type, its help, its value."""


class Queues(NamedTuple):
    """The queues of a scrape."""

    number: int
    """How many there are, whether looked at or not."""
    figures: Mapping[str, Figures]


async def scrape(questd: Questd, accept: str) -> tuple[bytes, str]:
    """Return the metrics and their content type, as the header Accept wants them."""
    encode, content_type = choose_encoder(accept)
    found = CollectorRegistry(auto_describe=False)
    found.register(_Scrape(questd.counts.book.used, await _queues(questd)))
    return encode(found), content_type


async def _queues(questd: Questd) -> Queues | None:
    """Return how the queues are; None while Redis cannot say it."""
    try:
        names, _ = await registry.names(questd.library)
    except errors.ServiceUnavailable:
        return None
    looked_at = names[:QUEUES]
    found = await asyncio.gather(*(_figures(questd, name) for name in looked_at))
    return Queues(len(names), {name: each for name, each in zip(looked_at, found, strict=True) if each})


async def _figures(questd: Questd, name: str) -> Figures | None:
    try:
        return await figures(questd, name)
    except (errors.QueueDoesNotExist, errors.ServiceUnavailable):
        return None


class _Scrape(Collector):
    """All metrics at one moment."""

    def __init__(self, pages: list[Page], queues: Queues | None) -> None:
        self._pages = pages
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from _of_requests(self._pages)
        yield from _of_processes(self._pages)
        yield _gauge("redis_up", "Whether Redis answers.", int(self._queues is not None))
        if self._queues:
            left_out = max(self._queues.number - QUEUES, 0)
            yield _gauge("queues", "Queues that there are.", self._queues.number)
            yield _gauge("queues_left_out", f"Queues beyond the first {QUEUES}: of them nothing is told.", left_out)
            yield from _of_queues(self._queues.figures)


def _of_requests(pages: list[Page]) -> Iterator[Metric]:
    counter = CounterMetricFamily(
        "questd_requests",
        'Requests answered, by action and by AWS\'s name of the error ("": none).',
        labels=("action", "error"),
    )
    times = HistogramMetricFamily(
        "questd_request_seconds", "Time to answer a request, waiting for messages not counted.", labels=("action",)
    )
    by_page = [page.requests for page in pages]
    for action in by_page[0]:
        total = reduce(add, (requests[action] for requests in by_page))
        count, failed = sum(total.classes), sum(total.errors)
        counter.add_metric((action, ""), count - failed)
        for name, number in zip(ERRORS, total.errors, strict=True):
            if number:
                counter.add_metric((action, name), number)
        if count:
            times.add_metric((action,), _buckets(total.classes), total.ns * NS)
    yield counter
    yield times


def _buckets(classes: list[int]) -> list[tuple[str, float]]:
    """Return how many were at most so long, for each bound."""
    bounds = [str(bound / 1000) for bound in BOUNDS_MS] + ["+Inf"]
    return [(bound, sum(classes[: i + 1])) for i, bound in enumerate(bounds)]


def _of_processes(pages: list[Page]) -> Iterator[Metric]:
    running = [page for page in pages if page.state == NOW]
    yield _gauge("processes", "Processes of questd that serve.", len(running))
    for name, text in PROCESS_GAUGES.items():
        gauge = GaugeMetricFamily(f"questd_{name}", text, labels=("process",))
        for page in running:
            gauge.add_metric((str(page.number),), page.gauges[name])
        yield gauge
    for name, (metric, unit, text) in PROCESS_SUMS.items():
        counter = CounterMetricFamily(f"questd_{metric}", text, labels=("process",))
        for page in pages:
            counter.add_metric((str(page.number),), page.sums[name] * unit)
        yield counter


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"questd_{name}", text, value)


def _of_queues(found: Mapping[str, Figures]) -> Iterator[Metric]:
    messages = GaugeMetricFamily("questd_queue_messages", "Messages, by state.", labels=("queue", "state"))
    for queue, each in found.items():
        for state in STATES:
            messages.add_metric((queue, state), getattr(each, state))
    yield messages
    for name, (kind, text, value) in QUEUE_FIGURES.items():
        metric = kind(f"questd_queue_{name}", text, labels=("queue",))
        for queue, each in found.items():
            metric.add_metric((queue,), value(each))
        yield metric
