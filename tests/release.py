"""What a release leaves in Redis and promises of its functions, recorded so that later ones can be held to it.

    python -m tests.release keys > tests/release_0_1_keys.json            writes queues of every kind, and records them
    python -m tests.release functions > tests/release_0_1_functions.json  records what each function takes and replies

The keys were written by the code of release 0.1 and stay as they are for as long as its layout is to be read.
"""

import asyncio
import base64
import json
import re
import sys
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import redis

from questd import library
from tests.client import ARN, Sqs, serving
from tests.clusters import cluster
from tests.servers import running
from tests.waiting import until_so

KEYS = Path(__file__).with_name("release_0_1_keys.json")
FUNCTIONS = Path(__file__).with_name("release_0_1_functions.json")

WRITTEN_MS = 1_800_000_000_000
"""Where the clock of every rule stood while the keys were written, but for what was advanced."""

LATER = 25
"""So many messages of `long.fifo` were sent five minutes before the others."""

FOR_A_WHILE = re.compile(r"quest:(lease|clock)")
"""Keys that are nothing to be kept."""

Clients = Callable[[str], Any]
"""Gives a client of the server that has a key."""

READ: dict[str, Callable[[Any, bytes], Any]] = {
    "hash": lambda client, key: [part for pair in sorted(client.hgetall(key).items()) for part in pair],
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: sorted(client.smembers(key)),
    "zset": lambda client, key: [
        part for member, score in client.zrange(key, 0, -1, withscores=True) for part in (b"%d" % score, member)
    ],
    "string": lambda client, key: [client.get(key)],
}
"""What is in a key of a type, as WRITE takes it."""

WRITE = {"hash": "HSET", "list": "RPUSH", "set": "SADD", "zset": "ZADD", "string": "SET"}


# Keys


def kept(client: Any) -> dict[str, list[str]]:
    """Return every key: its type, and what is in it."""
    found = {}
    for key in sorted(client.keys("*")):
        if not FOR_A_WHILE.match(key.decode()):
            kind = client.type(key).decode()
            found[_text(key)] = [kind, *map(_text, READ[kind](client, key))]
    return found


def restore(keys: dict[str, list[str]], at: Clients) -> None:
    """Write keys into empty servers."""
    for key, (kind, *parts) in keys.items():
        at(key).execute_command(WRITE[kind], _bytes(key), *map(_bytes, parts))


def freeze(clients: Iterable[Any], ms: int) -> None:
    """Let the clock of every rule stand still."""
    for client in clients:
        client.fcall("quest_clock", 0, "freeze", ms)


def _text(value: bytes) -> str:
    """Return what is text as it is, and the rest in base64, so that somebody can read it."""
    if re.fullmatch(rb"[ -~]*", value) and not value.startswith(b"base64:"):
        return value.decode()
    return "base64:" + base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text[len("base64:") :]) if text.startswith("base64:") else text.encode()


async def written() -> dict[str, Any]:
    """Write queues of every kind with this questd; return what Redis holds then, and what clients were told."""
    told: dict[str, Any] = {}
    with running() as server, server.client() as client:
        async with serving(server.url, dead_letter_after=1e6) as sqs:
            freeze([client], WRITTEN_MS)
            await _long(sqs, told)
            await _fair(sqs, told)
            await _standard(sqs, told)
            await _dead_letters(sqs, told)
            await _fifo(sqs, told)
            await sqs.create("quiet")
        _by_functions(client)
        keys, now_ms = kept(client), int(client.fcall("quest_clock", 0))
    with cluster(2, "--appendonly", "yes", "--appendfsync", "always") as servers:
        clients = [node.client for node in servers.primaries]
        names = [servers.name_at(place, "far") for place in (0, 1)]
        async with serving(servers.url, dead_letter_after=1e6) as sqs:
            freeze(clients, now_ms)
            await _far(sqs, *names)
        servers.at(library.key_of(names[0])).client.fcall("quest_tick", 1, library.key_of(names[0]), 0)
        for client in clients:
            keys |= {key: value for key, value in kept(client).items() if key != "quest:queues"}
    keys["quest:queues"] += [part for name in names for part in ("0", name)]
    return {"layout": 2, "now_ms": now_ms, "told": told | {"far": names}, "keys": keys}


def _redrive(target: str, count: int) -> str:
    return json.dumps({"deadLetterTargetArn": f"{ARN}:{target}", "maxReceiveCount": count})


async def _standard(sqs: Sqs, told: dict[str, Any]) -> None:
    """`plain`: a message that waits with all that it can have, one in flight, one delayed, one on its second try."""
    url = await sqs.create("plain", VisibilityTimeout="60", MessageRetentionPeriod="86400")
    await sqs("TagQueue", QueueUrl=url, Tags={"team": "blue", "ключ": "значение"})
    await sqs("AddPermission", QueueUrl=url, Label="l", AWSAccountIds=["111122223333"], Actions=["SendMessage"])
    await sqs("SendMessage", QueueUrl=url, MessageBody="in flight")
    [message] = await sqs.receive(url)
    told["in flight"] = message["ReceiptHandle"]
    await sqs("SendMessage", QueueUrl=url, MessageBody="again")
    [message] = await sqs.receive(url)
    told["again"] = message["ReceiptHandle"]
    await sqs("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    attributes = {
        "text": {"DataType": "String", "StringValue": "ж"},
        "number": {"DataType": "Number.int", "StringValue": "7"},
        "bytes": {"DataType": "Binary", "BinaryValue": "AAEC"},
    }
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}
    more = {"MessageAttributes": attributes, "MessageSystemAttributes": trace}
    sent = await sqs("SendMessage", QueueUrl=url, MessageBody="visible 🍕", **more)
    told["visible"] = sent["MessageId"]
    await sqs("SendMessage", QueueUrl=url, MessageBody="delayed", DelaySeconds=900)


async def _dead_letters(sqs: Sqs, told: dict[str, Any]) -> None:
    """`source`: an exhausted message is about to leave. `letters`: a task has moved one message to `back`, of two."""
    letters, _ = await sqs.create("letters"), await sqs.create("back")
    url = await sqs.create("source", RedrivePolicy=_redrive("letters", 2))
    for bodies in (("first", "second"), ("poison",)):
        await sqs.fill(url, bodies)
        for _ in range(2):
            await sqs.receive(url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        if "poison" not in bodies:
            await sqs.receive(url, MaxNumberOfMessages=10)
    assert await sqs.counts(letters) == (2, 0, 0)
    task = {"SourceArn": f"{ARN}:letters", "DestinationArn": f"{ARN}:back", "MaxNumberOfMessagesPerSecond": 1}
    told["task"] = (await sqs("StartMessageMoveTask", **task))["TaskHandle"]

    async def one_is_left() -> bool:
        return await sqs.counts(letters) == (1, 0, 0)

    await until_so(one_is_left)


async def _fifo(sqs: Sqs, told: dict[str, Any]) -> None:
    """`orders.fifo`: two groups, the first of one in flight. `later.fifo`: a message that is delayed."""
    url = await sqs.create("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true", VisibilityTimeout="60")
    for body in ("a1", "b1", "a2", "b2", "a3"):
        sent = await sqs("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=body[0])
        told[body] = {name: sent[name] for name in ("MessageId", "SequenceNumber")}
    [message] = await sqs.receive(url, ReceiveRequestAttemptId="attempt")
    assert message["Body"] == "a1"
    told["a1"]["ReceiptHandle"] = message["ReceiptHandle"]
    later = await sqs.create("later.fifo", FifoQueue="true", DelaySeconds="60")
    deduplicated = {"MessageGroupId": "g", "MessageDeduplicationId": "x"}
    await sqs("SendMessage", QueueUrl=later, MessageBody="later", **deduplicated)


async def _long(sqs: Sqs, told: dict[str, Any]) -> None:
    """`long.fifo`: a group of many messages, the first of which were sent five minutes before the others."""
    url = await sqs.create("long.fifo", FifoQueue="true", ContentBasedDeduplication="true", VisibilityTimeout="60")
    for number in range(30):
        if number == LATER:
            await sqs.advance(200)
            await sqs("SendMessage", QueueUrl=url, MessageBody="other", MessageGroupId="other")
            await sqs.advance(100)
        sent = await sqs("SendMessage", QueueUrl=url, MessageBody=f"{number}", MessageGroupId="long")
    other = await sqs("SendMessage", QueueUrl=url, MessageBody="other", MessageGroupId="other")
    told["long"] = {"other": other["MessageId"], "last": sent["MessageId"]}


async def _fair(sqs: Sqs, told: dict[str, Any]) -> None:
    """`tenants`: one has kept consumers busy in this minute and in the one before, and has a message in flight."""
    url = await sqs.create("tenants", VisibilityTimeout="600")
    for number in range(5):
        await sqs("SendMessage", QueueUrl=url, MessageBody=f"noisy {number}", MessageGroupId="noisy")
    await sqs("SendMessage", QueueUrl=url, MessageBody="quiet 0", MessageGroupId="quiet")
    for seconds in (20, 70):
        [message] = await sqs.receive(url)
        await sqs.advance(seconds)
        await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    [message] = await sqs.receive(url)
    told["tenant"] = {"Body": message["Body"], "ReceiptHandle": message["ReceiptHandle"]}
    delayed = {"MessageBody": "noisy later", "MessageGroupId": "noisy", "DelaySeconds": 900}
    await sqs("SendMessage", QueueUrl=url, **delayed)


def _by_functions(client: Any) -> None:
    """Do what needs no questd, and what a running one would have tidied up at once."""
    client.fcall("sendMessage", 1, "notes", "buy milk")
    for name in ("purged.fifo", "gone.fifo"):
        queue = library.key_of(name)
        client.fcall("quest_create", 1, queue, "5ec2e7" * 6, 0, 2**20, 345_600, "FifoQueue", "true")
        version = client.hget(queue, "version")
        for number in range(40):  # so many that the group has a list
            digest = b"%020d" % number
            head = base64.b64decode("ga5NZXNzYWdlR3JvdXBJZKFn")  # {"MessageGroupId": "g"}
            client.fcall("quest_send", 1, queue, version, b"%016d" % number, "", head, "x", "g", digest)
    client.fcall("quest_purge", 1, library.key_of("purged.fifo"), 0)
    client.fcall("quest_delete_queue", 1, library.key_of("gone.fifo"))
    quiet = library.key_of("quiet")
    version = client.hget(quiet, "version")
    client.fcall("quest_receive", 1, quiet, version, 1, "", "", 120_000, "", "process", 20_000, 0, 1)


async def _far(sqs: Sqs, source: str, dead: str) -> None:
    """Two queues in two slots: one message has come over, another is about to leave."""
    letters = await sqs.create(dead)
    url = await sqs.create(source, RedrivePolicy=_redrive(dead, 1))

    async def is_there() -> bool:
        return await sqs.counts(letters) == (1, 0, 0)

    for body in ("arrived", "leaving"):
        await sqs("SendMessage", QueueUrl=url, MessageBody=body)
        await sqs.receive(url, VisibilityTimeout=0)
        if body == "arrived":
            await sqs.receive(url)
            await until_so(is_there)


# Functions


def promises() -> dict[str, dict[str, str]]:
    """Return what each function of the library takes and replies, as the header above it in the Lua files says."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((files("questd") / "lua").iterdir(), key=lambda each: each.name):
        text = path.read_text()
        for header, name in re.findall(r"((?:^--.*\n)+)register\('(\w+)'", text, re.MULTILINE):
            parts = re.findall(r"^-- (KEYS|ARGV|Reply) +(.*(?:\n--  {3,}.*)*)", header, re.MULTILINE)
            found[name] = {part: re.sub(r"\s*\n-- +", " ", told) for part, told in parts}
    return dict(sorted(found.items()))


def main() -> None:
    """Write to standard output what the command line asks for."""
    recorded = promises() if sys.argv[1] == "functions" else asyncio.run(written())
    json.dump(recorded, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    try:
        main()
    except redis.RedisError as error:
        sys.exit(str(error))
