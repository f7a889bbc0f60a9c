"""Acts at the console: a form that somebody posts, made into the action that a client of SQS would ask for.

It owns what each form's fields mean; what it leads to are pages.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web
from yarl import URL

from questd import errors, pages
from questd.pages import VISIT, queue_of
from questd.pause import pause, resume
from questd.peek import drop
from questd.queue_attributes import FIFO_ONLY, SETTABLE
from questd.visits import Visit, queue_at, segment

Form = Mapping[str, str]

ATTRIBUTES = 10
"""Message attributes that the form has room for: a message has so many at most."""


class Act(NamedTuple):
    """Something that can be done with a queue."""

    do: Callable[[Visit, str, Form], Awaitable[None]]
    page: str = ""
    """The part of the queue's page that it is done on, and leads to."""


async def form_of(http: web.Request) -> Form:
    """Return the fields of a posted form, lines ending as everywhere but in forms."""
    return {name: str(value).replace("\r\n", "\n") for name, value in (await http.post()).items()}


async def create(http: web.Request) -> web.Response:
    """Make a queue, and go to its page."""
    visit, form = http[VISIT], await form_of(http)
    name = form.get("QueueName", "")
    try:
        attributes = {"FifoQueue": "true"} if form.get("FifoQueue") else {}
        name += ".fifo" if attributes and not name.endswith(".fifo") else ""
        await visit.do("CreateQueue", QueueName=name, Attributes=attributes)
    except errors.SQSError as error:
        return await pages.overview(http, error=error.message, form=form, status=error.status)
    raise web.HTTPSeeOther(_at(visit.request.namespace.name(name), done="created"))


async def act(http: web.Request) -> web.Response:
    """Do something with a queue, and go on to its page; what is wrong with a form is said above it."""
    visit, queue, name = http[VISIT], queue_of(http), http.match_info["act"]
    if name not in ACTS:
        raise web.HTTPNotFound
    chosen, form = ACTS[name], await form_of(http)
    try:
        await chosen.do(visit, queue, form)
    except (errors.QueueDoesNotExist, errors.AccessDeniedException):
        raise
    except errors.SQSError as error:
        return await PAGES[chosen.page](http, error=error.message, form=form, status=error.status)
    raise web.HTTPSeeOther(URL("/?done=delete") if name == "delete" else _at(queue, chosen.page, done=name))


def _at(queue: str, part: str = "", **query: str) -> URL:
    return URL(f"/queues/{segment(queue)}{part}").with_query(query)


async def _send(visit: Visit, queue: str, form: Form) -> None:
    members: dict[str, Any] = {"MessageBody": form.get("MessageBody", "")}
    for name in ("MessageGroupId", "MessageDeduplicationId", "DelaySeconds"):
        if form.get(name):
            members[name] = form[name]
    attributes = {form[f"name{i}"]: _value(form, i) for i in range(ATTRIBUTES) if form.get(f"name{i}")}
    if attributes:
        members["MessageAttributes"] = attributes
    await visit.do("SendMessage", QueueUrl=visit.url(queue), **members)


def _value(form: Form, place: int) -> dict[str, str]:
    kind, value = form.get(f"type{place}", "String"), form.get(f"value{place}", "")
    return {"DataType": kind, "BinaryValue" if kind == "Binary" else "StringValue": value}


async def _drop(visit: Visit, queue: str, form: Form) -> None:
    await visit.check("DeleteMessage", queue)
    sequence, message_id = form.get("sequence", ""), form.get("message_id", "")
    if not (pages.SEQUENCE.fullmatch(sequence) and pages.MESSAGE_ID.fullmatch(message_id)):
        raise errors.SerializationException
    await drop(visit.questd, queue, [(int(sequence), message_id)])


async def _purge(visit: Visit, queue: str, _form: Form) -> None:
    await visit.do("PurgeQueue", QueueUrl=visit.url(queue))


async def _delete(visit: Visit, queue: str, _form: Form) -> None:
    await visit.do("DeleteQueue", QueueUrl=visit.url(queue))


async def _redrive(visit: Visit, queue: str, form: Form) -> None:
    members: dict[str, Any] = {"SourceArn": visit.questd.arn(queue)}
    if form.get("target"):
        members["DestinationArn"] = visit.questd.arn(queue_at(form["target"]))
    if form.get("rate"):
        members["MaxNumberOfMessagesPerSecond"] = form["rate"]
    await visit.do("StartMessageMoveTask", **members)


async def _cancel(visit: Visit, _queue: str, form: Form) -> None:
    await visit.do("CancelMessageMoveTask", TaskHandle=form.get("TaskHandle", ""))


async def _pause(visit: Visit, queue: str, _form: Form) -> None:
    await visit.check("SetQueueAttributes", queue)
    await pause(visit.questd, queue)


async def _resume(visit: Visit, queue: str, _form: Form) -> None:
    await visit.check("SetQueueAttributes", queue)
    await resume(visit.questd, queue)


async def _attributes(visit: Visit, queue: str, form: Form) -> None:
    """Change what is another than it was: a form has every attribute in it."""
    url = visit.url(queue)
    now = (await visit.do("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"]))["Attributes"]
    wanted = {name: form[name] for name in (*SETTABLE, *FIFO_ONLY) if name in form}
    if "target" in form:
        wanted["RedrivePolicy"] = _redrive_policy(visit, queue, form)
    changed = {name: value for name, value in wanted.items() if value != now.get(name, "")}
    if changed:
        await visit.do("SetQueueAttributes", QueueUrl=url, Attributes=changed)


def _redrive_policy(visit: Visit, queue: str, form: Form) -> str:
    if not form["target"]:
        return ""
    prefix = visit.questd.arn(queue).rpartition(":")[0]  # it has to be of the same region and account
    tries = form.get("maxReceiveCount", "")
    count = int(tries) if tries.isdecimal() else tries
    return json.dumps(
        {"deadLetterTargetArn": f"{prefix}:{form['target']}", "maxReceiveCount": count}, separators=(",", ":")
    )


async def _tag(visit: Visit, queue: str, form: Form) -> None:
    await visit.do("TagQueue", QueueUrl=visit.url(queue), Tags={form.get("key", ""): form.get("value", "")})


async def _untag(visit: Visit, queue: str, form: Form) -> None:
    await visit.do("UntagQueue", QueueUrl=visit.url(queue), TagKeys=[form.get("key", "")])


ACTS = {
    "send": Act(_send, "/send"),
    "drop": Act(_drop),
    "purge": Act(_purge),
    "redrive": Act(_redrive),
    "cancel": Act(_cancel),
    "pause": Act(_pause),
    "resume": Act(_resume),
    "delete": Act(_delete, "/settings"),
    "attributes": Act(_attributes, "/settings"),
    "tag": Act(_tag, "/settings"),
    "untag": Act(_untag, "/settings"),
}

PAGES = {"": pages.messages, "/send": pages.send, "/settings": pages.settings}


def routes() -> list[web.RouteDef]:
    """Return what can be done."""
    return [web.post("/queues", create), web.post("/queues/{queue}/{act}", act)]
