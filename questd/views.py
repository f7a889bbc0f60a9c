"""Views: what the console's pages show of queues and messages, gathered; how it looks is the templates' business.

It changes nothing, and shows somebody only what he may see.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json

from questd import errors, history, redrive, registry
from questd.charts import Chart, chart, spark
from questd.figures import Figures, figures
from questd.history import History
from questd.library import key_of
from questd.namespaces import bare
from questd.peek import STATES, Look, Page, Peeked, peek
from questd.texts import Body, body_of
from questd.visits import Visit, segment

ROWS = 100
"""Queues on a page of the overview."""

MESSAGES = 20
"""Messages on a page of a queue."""

RIGHTS = (
    *("SendMessage", "StartMessageMoveTask", "SetQueueAttributes", "PurgeQueue", "DeleteMessage", "DeleteQueue"),
    *("TagQueue", "UntagQueue"),
)
"""Actions that the pages of a queue have a button for."""

TASKS = 10
"""Move tasks that a queue remembers."""

SHOWN_BYTES = 20_000
"""Of a body in the list of messages; the rest is behind a link."""


class Link(NamedTuple):
    """A queue that a page leads to."""

    name: str
    segment: str


def link(queue: str) -> Link:
    """Return the link to a queue by its name inside."""
    return Link(bare(queue) if queue.count("/") == 0 else queue[1:], segment(queue))


class Row(NamedTuple):
    """A queue in the overview."""

    link: Link
    figures: Figures
    rates: dict[str, float]
    spark: str
    target: Link | None
    """Its dead-letter queue."""
    tries: str
    sources: list[Link]
    fifo: bool


class Overview(NamedTuple):
    """The first page."""

    rows: list[Row]
    charts: list[Chart]
    search: str
    after: str
    """Behind which queue the next page begins; '' for none."""
    number: int
    """How many queues there are that he may see and that are searched for."""
    any: bool
    """Whether there is any queue."""

    @property
    def totals(self) -> dict[str, int]:
        """Return how many messages the queues on the page have."""
        return {
            name: sum(getattr(row.figures, name) for row in self.rows) for name in ("visible", "in_flight", "delayed")
        }


async def names_for(visit: Visit) -> list[str]:
    """Return the names inside of all queues that he may look at, in order."""
    names, _ = await registry.names(visit.questd.library)
    if not visit.questd.gate:
        return names
    allowed = await asyncio.gather(*(visit.may("GetQueueAttributes", name) for name in names))
    return [name for name, seen in zip(names, allowed, strict=True) if seen]


async def overview(visit: Visit, past: History, search: str, after: str) -> Overview:
    """Return a page of queues whose names have a text in them."""
    everything = await names_for(visit)
    names = [name for name in everything if search.lower() in name.lower()]
    rest = [name for name in names if name > after]
    page = rest[:ROWS]
    rows = await asyncio.gather(*(_row(visit, past, name) for name in page))
    charts = charts_of(past, None) if await visit.may("GetQueueAttributes", "") else []  # they are of all queues
    following = page[-1] if len(rest) > ROWS else ""
    return Overview([row for row in rows if row], charts, search, following, len(names), bool(everything))


async def _row(visit: Visit, past: History, queue: str) -> Row | None:
    library, now = visit.questd.library, time.monotonic()
    try:
        found, (target, tries, fifo), sources = await asyncio.gather(
            figures(visit.questd, queue),
            library.execute("HMGET", key_of(queue), "deadLetterTarget", "maxReceiveCount", "FifoQueue"),
            redrive.sources_of(visit.questd, queue),
        )
    except errors.QueueDoesNotExist:  # it was deleted just now
        return None
    samples = past.samples(queue)
    rates = {name: points[-1][1] if points else 0.0 for name, points in history.rates(samples).items()}
    return Row(
        link(queue),
        found,
        rates,
        spark([(sample.time, sum(sample[1:4])) for sample in samples], now),
        link(target.decode()) if target else None,
        (tries or b"").decode(),
        [link(source) for source in sources],
        bool(fifo),
    )


def charts_of(past: History, queue: str | None) -> list[Chart]:
    """Return the charts of a queue, or of all together."""
    samples, now = past.samples(queue), time.monotonic()
    if len(samples) < 2:  # noqa: PLR2004  # a line has two ends
        return []
    return [
        chart("Messages", history.levels(samples), now),
        chart("Per second", history.rates(samples), now),
    ]


class Queue(NamedTuple):
    """What every page of a queue shows."""

    link: Link
    url: str
    attributes: Mapping[str, str]
    figures: Figures
    target: Link | None
    tries: str
    sources: list[Link]
    rights: frozenset[str]
    """What of RIGHTS he may do with it; a page has no other buttons."""

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return "FifoQueue" in self.attributes


async def queue(visit: Visit, name: str) -> Queue:
    """Return a queue by its name inside. Raises QueueDoesNotExist, AccessDenied."""
    questd = visit.questd
    reply = await visit.do("GetQueueAttributes", QueueUrl=visit.url(name), AttributeNames=["All"])
    attributes = reply["Attributes"]
    found, sources = await asyncio.gather(figures(questd, name), redrive.sources_of(questd, name))
    policy = from_json(attributes.get("RedrivePolicy", "{}"))
    target = questd.name_of(policy.get("deadLetterTargetArn", ""))
    return Queue(
        link(name),
        questd.url(name, visit.request),
        defaultdict(str, attributes),
        found,
        link(target) if target else None,
        str(policy.get("maxReceiveCount", "")),
        [link(source) for source in sources],
        frozenset([action for action in RIGHTS if await visit.may(action, name)]),
    )


class Message(NamedTuple):
    """A message as a page shows it."""

    peeked: Peeked
    body: Body
    attributes: Mapping[str, str]
    """Those of the system."""
    user: Mapping[str, Mapping[str, str]]
    source: Link | None
    """The queue that it comes from, in a dead-letter queue."""


def message(visit: Visit, peeked: Peeked) -> Message:
    """Return a message as a page shows it."""
    attributes = peeked.message["Attributes"]
    source = visit.questd.name_of(attributes.get("DeadLetterQueueSourceArn", ""))
    user = peeked.message.get("MessageAttributes", {})
    return Message(
        peeked, body_of(peeked.message["Body"], SHOWN_BYTES), attributes, user, link(source) if source else None
    )


class Messages(NamedTuple):
    """Some of a queue's messages."""

    messages: list[Message]
    page: Page
    look: Look


async def messages(visit: Visit, name: str, state: str, contains: str, after: int) -> Messages | None:
    """Return a page of messages in a state ('' for any); None when he may not see any."""
    if not await visit.may("ReceiveMessage", name):
        return None
    states = [each for each in STATES if state in ("", each)]
    look = Look(states or STATES, contains, after, MESSAGES)
    page = await peek(visit.questd, name, look)
    return Messages([message(visit, each) for each in page.messages], page, look)


async def tasks(visit: Visit, name: str) -> list[dict[str, Any]]:
    """Return the latest move tasks of a dead-letter queue, as far as he may see them."""
    reply = await visit.seen("ListMessageMoveTasks", SourceArn=visit.questd.arn(name), MaxResults=TASKS)
    found: list[dict[str, Any]] = reply.get("Results", [])
    return found


async def one(visit: Visit, name: str, sequence: int) -> Peeked:
    """Return a message by its sequence. Raises AccessDenied, and LookupError when it has gone."""
    await visit.check("ReceiveMessage", name)
    page = await peek(visit.questd, name, Look(after=max(sequence - 1, 0), limit=1))
    if not page.messages or page.messages[0].sequence != sequence:
        raise LookupError(sequence)
    return page.messages[0]
