"""Pages of the console: the GET paths, and how a page is made out of a view and a template.

It changes nothing; acts.py does.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from questd import __version__, texts, views
from questd.charts import HEIGHT, SPARK_HEIGHT, SPARK_WIDTH, WIDTH
from questd.history import History
from questd.visits import Visit, queue_at

HISTORY = web.AppKey("history", History)
VISIT = web.RequestKey("visit", Visit)

NOTES = {
    "created": "The queue is there.",
    "send": "Sent.",
    "drop": "The message is deleted.",
    "purge": "The queue is empty.",
    "redrive": "The messages are being moved.",
    "cancel": "The move has ended; what was moved stays moved.",
    "pause": "Paused: messages are taken, and none is handed out.",
    "resume": "Messages are handed out again.",
    "delete": "The queue is deleted.",
    "attributes": "The attributes are changed.",
    "tag": "The tag is set.",
    "untag": "The tag is gone.",
}
"""What a page says after an act, by its name."""

CONFIRMED = {
    "purge": "Purge",
    "drop": "Delete the message",
    "redrive": "Redrive",
    "delete": "Delete the queue",
}
"""Acts that ask first, and what the button says."""

MESSAGE_ID = re.compile("[0-9a-f-]{36}")

TARGETS = 300
"""Queues that are offered as dead-letter queues; any other can be typed."""

SEQUENCE = re.compile("[0-9]{1,15}")
"""So many digits are exact in Lua, too."""

environment = Environment(
    loader=PackageLoader("questd"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters |= {"age": texts.age, "size": texts.size, "moment": texts.moment, "number": texts.number}
environment.globals |= {
    "version": __version__,
    "width": WIDTH,
    "height": HEIGHT,
    "spark_width": SPARK_WIDTH,
    "spark_height": SPARK_HEIGHT,
}


def page(visit: Visit, template: str, status: int = 200, **shown: Any) -> web.Response:  # noqa: ANN401  # a template's
    """Return a page. `error` and `form` show what was wrong with a form, and what was in it."""
    context = {"visit": visit, "error": "", "note": ""} | shown
    context["form"] = blank(shown.get("form", {}))
    text = environment.get_template(template).render(context)
    return web.Response(text=text, status=status, content_type="text/html")


def blank(fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return fields of which each that is not there is empty."""
    return defaultdict(str, fields)


def routes() -> list[web.RouteDef]:
    """Return what can be looked at."""
    return [
        web.get("/", overview),
        web.get("/queues/{queue}", messages),
        web.get("/queues/{queue}/send", send),
        web.get("/queues/{queue}/settings", settings),
        web.get("/queues/{queue}/confirm/{act}", confirm),
        web.get(r"/queues/{queue}/messages/{sequence:[0-9]{1,15}}", body),
    ]


def queue_of(http: web.Request) -> str:
    """Return the queue that a path names, by its name inside."""
    return queue_at(http.match_info["queue"])


def note_of(http: web.Request) -> str:
    """Return what the page says of the act that led to it."""
    return NOTES.get(http.query.get("done", ""), "")


async def overview(http: web.Request, **shown: Any) -> web.Response:  # noqa: ANN401  # a template's
    """Show the queues."""
    visit = http[VISIT]
    found = await views.overview(visit, http.app[HISTORY], http.query.get("q", ""), http.query.get("after", ""))
    return page(visit, "overview.html", **{"overview": found, "note": note_of(http), "sqs": _endpoint(visit)} | shown)


def _endpoint(visit: Visit) -> str:
    return visit.questd.url("queue", visit.request).rpartition("/")[0].rpartition("/")[0]


async def messages(http: web.Request, **shown: Any) -> web.Response:  # noqa: ANN401  # a template's
    """Show a queue's messages, and how they come and go."""
    visit, name = http[VISIT], queue_of(http)
    queue = await views.queue(visit, name)
    found = await views.messages(visit, name, http.query.get("state", ""), http.query.get("q", ""), _after(http))
    tasks = await views.tasks(visit, name) if queue.sources else []
    given = {
        "queue": queue,
        "found": found,
        "state": http.query.get("state", ""),
        "tasks": tasks,
        "charts": views.charts_of(http.app[HISTORY], name),
        "note": note_of(http),
    }
    return page(visit, "messages.html", **given | shown)


def _after(http: web.Request) -> int:
    text = http.query.get("after", "")
    return int(text) if SEQUENCE.fullmatch(text) else 0


async def send(http: web.Request, **shown: Any) -> web.Response:  # noqa: ANN401  # a template's
    """Show the form that sends a message."""
    visit = http[VISIT]
    queue = await views.queue(visit, queue_of(http))
    return page(visit, "send.html", **{"queue": queue, "note": note_of(http)} | shown)


async def settings(http: web.Request, **shown: Any) -> web.Response:  # noqa: ANN401  # a template's
    """Show a queue's attributes and tags, to be changed."""
    visit, name = http[VISIT], queue_of(http)
    queue = await views.queue(visit, name)
    tags = (await visit.seen("ListQueueTags", QueueUrl=visit.url(name))).get("Tags", {})
    targets = [views.link(each).name for each in (await views.names_for(visit))[:TARGETS]]
    given = {"queue": queue, "tags": tags, "targets": targets, "note": note_of(http)}
    return page(visit, "settings.html", **given | shown)


async def confirm(http: web.Request) -> web.Response:
    """Ask before an act that cannot be undone, or moves many messages."""
    visit, act = http[VISIT], http.match_info["act"]
    if act not in CONFIRMED:
        raise web.HTTPNotFound
    queue = await views.queue(visit, queue_of(http))
    return page(visit, "confirm.html", queue=queue, act=act, button=CONFIRMED[act], fields=blank(http.query))


async def body(http: web.Request) -> web.Response:
    """Show a message's body, all of it, as it is."""
    visit, sequence = http[VISIT], http.match_info["sequence"]
    try:
        peeked = await views.one(visit, queue_of(http), int(sequence))
    except LookupError:
        raise web.HTTPNotFound from None
    return web.Response(text=peeked.message["Body"], content_type="text/plain")
