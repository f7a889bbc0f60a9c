"""Upgrades: what release 0.1 has stored is served on, and its functions take and reply what they did."""

import base64
import json
import re
from collections.abc import AsyncIterator, Iterable
from importlib.resources import files
from typing import Any

import pytest

from questd import library, source
from questd.library import key_of
from tests import release
from tests.client import ARN, Sqs, serving
from tests.clusters import ClusterServers
from tests.servers import RedisServer
from tests.waiting import until_so

RECORDED = json.loads(release.KEYS.read_text())
KEYS: dict[str, list[str]] = RECORDED["keys"]
TOLD: dict[str, Any] = RECORDED["told"]
FUNCTIONS: dict[str, dict[str, str]] = json.loads(release.FUNCTIONS.read_text())
ALL = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"], "MaxNumberOfMessages": 10}


@pytest.fixture
async def old(redis_server: RedisServer) -> AsyncIterator[Sqs]:
    """Give a questd that was started on what release 0.1 has left in a Redis, at the time when it did."""
    with redis_server.client() as client:
        await library.load(redis_server.url, test_mode=True)
        release.freeze([client], RECORDED["now_ms"])
        release.restore(KEYS, lambda _: client)
        async with serving(redis_server.url) as sqs:
            yield sqs


async def url_of(sqs: Sqs, name: str) -> str:
    """Return the URL of a queue."""
    url: str = (await sqs("GetQueueUrl", QueueName=name))["QueueUrl"]
    return url


def bodies(messages: Iterable[dict[str, Any]]) -> list[str]:
    """Return the bodies of messages."""
    return [message["Body"] for message in messages]


# What is stored


def test_every_kind_of_key_was_recorded() -> None:
    """Each key that quest.lua names is among those of the release, but for those of a moment."""
    text = (files("questd") / "lua" / "quest.lua").read_text()
    named = set(re.findall(r"^--   (?:quest:\{q\}|…)?((?::[a-z_]+|quest:[a-z]+))", text, re.MULTILINE))
    named |= set(re.findall(r"^--   …(?::\w+), …(:\w+)", text, re.MULTILINE)) | {""}
    kept = {re.sub(r"^quest:\{.*\}(:\w+)?.*", r"\1", key) for key in KEYS}
    assert named - kept == {"quest:lease"}
    assert len(named) > 20


async def test_a_standard_queue(old: Sqs) -> None:
    """Attributes, tags, permissions, counts and messages are as they were, and handles of that time still work."""
    url = await url_of(old, "plain")
    attributes = await old.attributes(url)
    assert (attributes["VisibilityTimeout"], attributes["MessageRetentionPeriod"]) == ("60", "86400")
    [statement] = json.loads(attributes["Policy"])["Statement"]
    assert (statement["Sid"], statement["Action"]) == ("l", "SQS:SendMessage")
    assert (await old("ListQueueTags", QueueUrl=url))["Tags"] == {"team": "blue", "ключ": "значение"}
    assert await old.counts(url) == (2, 1, 1)

    again, visible = await old.receive(url, **ALL)
    assert (again["Body"], again["Attributes"]["ApproximateReceiveCount"]) == ("again", "2")
    assert (visible["Body"], visible["MessageId"]) == ("visible 🍕", TOLD["visible"])
    assert visible["Attributes"]["AWSTraceHeader"] == "Root=1"
    assert visible["Attributes"]["SentTimestamp"] == str(RECORDED["now_ms"])
    assert base64.b64decode(visible["MessageAttributes"]["bytes"]["BinaryValue"]) == b"\0\1\2"
    assert sorted(visible["MessageAttributes"]) == ["bytes", "number", "text"]

    await old("DeleteMessage", QueueUrl=url, ReceiptHandle=TOLD["in flight"])
    await old("DeleteMessage", QueueUrl=url, ReceiptHandle=TOLD["again"])  # of an earlier delivery: deletes nothing
    assert await old.counts(url) == (0, 2, 1)
    await old.advance(900)
    assert sorted(bodies(await old.receive(url, **ALL))) == ["again", "delayed", "visible 🍕"]
    await old.advance(86_400)
    assert await old.receive(url) == []


async def test_dead_letters_and_move_tasks(old: Sqs) -> None:
    """An exhausted message goes to its dead-letter queue, and the task that was running goes on and ends."""
    source, letters, back = [await url_of(old, name) for name in ("source", "letters", "back")]
    assert await old.counts(back) == (1, 0, 0)
    [task] = (await old("ListMessageMoveTasks", SourceArn=f"{ARN}:letters"))["Results"]
    assert (task["Status"], task["TaskHandle"]) == ("RUNNING", TOLD["task"])
    await old.advance(1)

    async def moved() -> bool:
        return await old.counts(back) == (2, 0, 0)

    await until_so(moved)
    assert await old.receive(source) == []
    [letter] = await old.receive(letters, **ALL)
    assert letter["Body"] == "poison"
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == f"{ARN}:source"
    assert bodies(await old.receive(back, **ALL)) == ["first", "second"]
    sources = await old("ListDeadLetterSourceQueues", QueueUrl=letters)
    assert sources["queueUrls"] == [source]


async def test_a_fifo_queue(old: Sqs) -> None:
    """Order, windows of deduplication, attempts, sequence numbers and receipt handles hold over the upgrade."""
    url = await url_of(old, "orders.fifo")
    repeated = await old("SendMessage", QueueUrl=url, MessageBody="a2", MessageGroupId="a")
    assert {name: repeated[name] for name in ("MessageId", "SequenceNumber")} == TOLD["a2"]
    [first] = await old.receive(url, ReceiveRequestAttemptId="attempt")
    assert (first["Body"], first["ReceiptHandle"]) == ("a1", TOLD["a1"]["ReceiptHandle"])
    assert bodies(await old.receive(url, **ALL)) == ["b1", "b2"]
    await old("DeleteMessage", QueueUrl=url, ReceiptHandle=TOLD["a1"]["ReceiptHandle"])
    rest = await old.receive(url, **ALL)
    assert bodies(rest) == ["a2", "a3"]
    assert rest[1]["Attributes"]["SequenceNumber"] == TOLD["a3"]["SequenceNumber"]
    sent = await old("SendMessage", QueueUrl=url, MessageBody="a4", MessageGroupId="a")
    assert int(sent["SequenceNumber"]) == int(TOLD["a3"]["SequenceNumber"]) + 1
    later = await url_of(old, "later.fifo")
    assert await old.counts(later) == (0, 0, 1)
    await old.advance(60)
    assert bodies(await old.receive(later)) == ["later"]
    await old.advance(300)
    anew = await old("SendMessage", QueueUrl=url, MessageBody="a2", MessageGroupId="a")
    assert anew["MessageId"] != TOLD["a2"]["MessageId"]


async def test_a_long_group(old: Sqs) -> None:
    """A group of many messages goes on in order, and what was sent less than five minutes ago is not sent again."""
    url = await url_of(old, "long.fifo")
    for body, group, name in (("other", "other", "other"), ("29", "long", "last")):
        repeated = await old("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=group)
        assert repeated["MessageId"] == TOLD["long"][name]
    got: list[str] = []
    while messages := await old.receive(url, **ALL):
        got += bodies(messages)
        for message in messages:
            await old("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert [body for body in got if body != "other"] == [f"{number}" for number in range(30)]
    anew = await old("SendMessage", QueueUrl=url, MessageBody="1", MessageGroupId="long")
    assert bodies(await old.receive(url)) == ["1"]
    assert anew["MessageId"] not in TOLD["long"].values()


async def test_a_fair_queue(old: Sqs) -> None:
    """Groups keep their order, and what is in flight for a tenant is given back to him."""
    url = await url_of(old, "tenants")
    assert await old.counts(url) == (3, 1, 1)
    assert bodies(await old.receive(url, **ALL)) == ["noisy 2", "noisy 3", "noisy 4"]
    handle = TOLD["tenant"]["ReceiptHandle"]
    await old("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    [again] = await old.receive(url, **ALL)
    assert (again["Body"], again["Attributes"]["MessageGroupId"]) == (TOLD["tenant"]["Body"], "noisy")
    await old.advance(900)
    assert "noisy later" in bodies(await old.receive(url, **ALL))


async def test_lists_and_what_was_deleted(old: Sqs, redis_server: RedisServer) -> None:
    """A list of redis-cli goes on, and what a purge and a DeleteQueue had left is tidied up."""
    with redis_server.client() as client:
        [item] = client.fcall("getMessage", 1, "notes", 1)
        assert item[3] == b"buy milk"
        assert client.fcall("deleteMessage", 1, "notes", item[-1]) == b"OK"

        async def tidy() -> bool:
            return not client.keys("quest:{*.fifo}:purged") and not client.exists("quest:remains")

        await until_so(tidy)
        assert not client.keys("quest:{gone.fifo}:group*")
        assert not client.keys("quest:{purged.fifo}:group*")
    assert await old.counts(await url_of(old, "purged.fifo")) == (0, 0, 0)
    urls = (await old("ListQueues"))["QueueUrls"]
    assert len(urls) == len(KEYS["quest:queues"]) // 2
    assert not any("gone" in url for url in urls)


async def test_what_was_leaving_for_another_slot(servers: ClusterServers) -> None:
    """In a Cluster a message that was on its way arrives behind those that had, once."""
    clients = [node.client for node in servers.primaries]
    async with serving(servers.url) as sqs:
        release.freeze(clients, RECORDED["now_ms"])  # in a Cluster loading the library forgets the clock
        release.restore(KEYS, lambda key: servers.at(key).client)
        await sqs.advance(1)
        far = await url_of(sqs, TOLD["far"][1])

        async def arrived() -> bool:
            return await sqs.counts(far) == (2, 0, 0)

        await until_so(arrived, 20)
        letters = await sqs.receive(far, **ALL)
        assert bodies(letters) == ["arrived", "leaving"]
        assert letters[1]["Attributes"]["DeadLetterQueueSourceArn"] == f"{ARN}:{TOLD['far'][0]}"

        async def acknowledged() -> bool:
            return not servers.at(key_of(TOLD["far"][0])).client.exists(key_of(TOLD["far"][0]) + ":outbox")

        await until_so(acknowledged, 20)


async def test_a_queue_of_a_later_layout(old: Sqs, redis_server: RedisServer) -> None:
    """Who goes back to an older questd is told which queue it cannot read; nothing is changed and the others go on."""
    url = await url_of(old, "plain")
    with redis_server.client() as client:
        client.hset(key_of("quiet"), "layout", 3)
        await library.load(redis_server.url, test_mode=True)  # which forgets what it knew
    reply = await old.ask("SendMessage", QueueUrl=url.replace("plain", "quiet"), MessageBody="x")
    assert reply.error == (
        503,
        "ServiceUnavailable",
        "ServiceUnavailable",
        (
            "The queue quiet is stored in layout 3, and this questd knows layout 2. "
            "Another version of questd made it: run that one."
        ),
    )
    assert bodies(await old.receive(url, **ALL)) == ["again", "visible 🍕"]


# What functions promise


def _as_recorded(name: str) -> str:
    return (
        f"{name} takes or replies something else than in release 0.1. While questds are replaced one by one, old ones "
        "call it as they always did: give what is new a function of its own name (add `_2`), or keep the old form "
        "working until the next major version. If the header only says the same in other words, record it anew: "
        "python -m tests.release functions > tests/release_0_1_functions.json"
    )


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_keep_their_arguments(name: str) -> None:
    """Within a major version each function has the keys, the arguments and the reply that it was released with."""
    assert release.promises().get(name) == FUNCTIONS[name], _as_recorded(name)


def test_every_function_is_recorded() -> None:
    """What the library has beside the functions of the release is recorded too, before it is released."""
    new = release.promises().keys() - FUNCTIONS.keys()
    assert not new, f"record {new}: python -m tests.release functions > {release.FUNCTIONS.name}"


def test_headers_were_found() -> None:
    """Every function that the library registers has a header that says what it takes and replies."""
    registered = set(re.findall(r"^register\('(\w+)'", source.text(test_mode=True), re.MULTILINE))
    assert registered == release.promises().keys()
    assert all({"KEYS", "Reply"} <= told.keys() for told in release.promises().values())
