"""The faults: what is done to Redis, to questd or to its clients while a load runs, and how it is undone.

Each is one stroke, made again and again; what it does to the data it tells the history.
"""

import asyncio
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tests.chaos.history import Outcome, Send
from tests.chaos.load import ATTRIBUTES, FIFO, FULL, STANDARD, Load
from tests.chaos.stage import ALWAYS, EMBEDDED, EVERYSEC, Stage
from tests.servers import free_port
from tests.waiting import until_true

LARGE, LARGE_BYTES = "large", 100_000
ROOM_BYTES = 4 * 2**20
"""The queue that fills Redis, its messages, and the room that it has for them."""

QUIET = "quiet"
"""The queue on which clients wait in vain."""

WORKER_SECONDS = 20.0
"""How long a new worker may take to be there, on a machine that does much else."""

UNWRITTEN_SECONDS = 2.0
"""With everysec, Redis lets what it has to write wait so long while its disk is busy, and answers all the same."""

UNSYNCED_SECONDS = 1.0
"""What a power loss takes."""

Stroke = Callable[[Stage, Load], Awaitable[None]]


async def nothing(_stage: Stage, _load: Load) -> None:
    """Let the load run: what follows is measured against this."""


async def redis_killed(stage: Stage, load: Load) -> None:
    """Kill Redis with SIGKILL, and start it again on its file."""
    killed = await stage.kill_redis()
    if stage.durability != ALWAYS:
        load.history.cuts.append((killed - UNWRITTEN_SECONDS, killed))
    await asyncio.sleep(0.2)
    await stage.start_redis()


async def redis_frozen(stage: Stage, _load: Load) -> None:
    """Stop Redis for a second, for two, and for longer than questd waits for it."""
    seconds = (1.0, 6.0, 2.0)[stage.strokes % 3]
    os.kill(stage.redis_pid(), signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(stage.redis_pid(), signal.SIGCONT)


async def memory_full(stage: Stage, load: Load) -> None:
    """Fill Redis until it takes no more; let consumers empty it, and see that it takes messages again by itself."""
    with stage.redis() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + ROOM_BYTES)
    try:
        await load.create(LARGE)
        await _fill(load)
        await asyncio.sleep(0.5)  # sends of the load are refused meanwhile
        await _empty(load)
        if (await load.ask("SendMessage", QueueUrl=LARGE, MessageBody="x")).outcome is not Outcome.ACKNOWLEDGED:
            load.history.mistakes.append("Redis has room again, and a send is refused")
        await load.ask("DeleteQueue", QueueUrl=LARGE)
    finally:
        stage.ask_redis("CONFIG", "SET", "maxmemory", 0)


async def _fill(load: Load) -> None:
    for _ in range(2 * ROOM_BYTES // LARGE_BYTES):
        asked = await load.ask("SendMessage", QueueUrl=LARGE, MessageBody="x" * LARGE_BYTES)
        if asked.reply and asked.reply.json.get("message", "").startswith(FULL):
            if asked.reply.status != HTTPStatus.SERVICE_UNAVAILABLE:
                load.history.mistakes.append(f"Redis is full, and a send is answered with {asked.reply.status}")
            return
    load.history.mistakes.append("Redis is full, and takes messages all the same")


async def _empty(load: Load) -> None:
    left: int | None = None
    for _ in range(2 * ROOM_BYTES // LARGE_BYTES):
        asked = await load.ask("ReceiveMessage", QueueUrl=LARGE, MaxNumberOfMessages=10)
        for message in asked.members.get("Messages", []):
            await load.ask("DeleteMessage", QueueUrl=LARGE, ReceiptHandle=message["ReceiptHandle"])
        left = await load.count(LARGE)
        if left == 0:
            return
    load.history.mistakes.append(f"Redis is full, and consumers cannot empty it: {left} messages are left")


async def connections_cut(stage: Stage, _load: Load) -> None:
    """Let Redis hang up on questd, with calls on their way and with replies on theirs."""
    for kind in ("normal", "pubsub"):
        stage.ask_redis("CLIENT", "KILL", "TYPE", kind)


async def functions_flushed(stage: Stage, _load: Load) -> None:
    """Take every function out of Redis."""
    stage.ask_redis("FUNCTION", "FLUSH")


async def data_flushed(stage: Stage, load: Load) -> None:
    """Throw all data away: with FLUSHALL, and by putting an empty Redis in its place, without any function."""
    begun = time.monotonic()
    if stage.strokes % 2 == 0:
        stage.ask_redis("FLUSHALL")
    else:
        await stage.kill_redis()
        stage.throw_away()
        await stage.start_redis()
    load.history.wipes.append((begun, time.monotonic()))


async def read_only(stage: Stage, _load: Load) -> None:
    """Let Redis refuse writes: for want of replicas, and as a replica of a primary that is not there."""
    if stage.strokes % 2 == 0:
        begin, end = "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"
    else:
        begin, end = f"REPLICAOF 127.0.0.1 {free_port()}", "REPLICAOF NO ONE"
    stage.ask_redis(*begin.split())
    try:
        await asyncio.sleep(0.5)
    finally:
        stage.ask_redis(*end.split())


async def worker_killed(stage: Stage, load: Load) -> None:
    """Kill a worker with SIGKILL; the other one goes on, and a new one comes."""
    workers = stage.workers()
    os.kill(load.random.choice(workers), signal.SIGKILL)
    await until_true(lambda: len(stage.workers()) == len(workers), WORKER_SECONDS)


async def workers_replaced(stage: Stage, _load: Load) -> None:
    """Let the supervisor replace all workers, as an upgrade does."""
    before = stage.workers()
    stage.questd.process.send_signal(signal.SIGUSR2)
    await until_true(lambda: not set(before) & set(stage.workers()), 2 * WORKER_SECONDS)


async def clients_vanish(stage: Stage, load: Load) -> None:
    """Let clients go in the middle of a request, before its answer, and in the middle of a long poll."""
    host, port = stage.questd.address.removeprefix("http://").split(":")
    here = (host, int(port))
    _leave(here, posted("SendMessage", QueueUrl=STANDARD, MessageBody="never whole")[:-5])
    name = f"gone-{stage.strokes}"
    begun = time.monotonic()
    _leave(here, posted("SendMessage", QueueUrl=STANDARD, MessageBody=name))
    load.history.sends.append(Send(STANDARD, name, "", begun, time.monotonic(), Outcome.UNKNOWN))
    for queue in (STANDARD, FIFO):
        _leave(here, posted("ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=2))
    await _leave_long_polls(here, load)


async def _leave_long_polls(here: tuple[str, int], load: Load) -> None:
    """See that a message is not taken for clients that hung up while they waited for it."""
    await load.create(QUIET)
    poll = posted("ReceiveMessage", QueueUrl=QUIET, WaitTimeSeconds=20, VisibilityTimeout=600)
    waiting = [socket.create_connection(here) for _ in range(8)]
    for each in waiting:
        each.sendall(poll)
    await asyncio.sleep(load.random.random() * 0.1)
    for i, each in enumerate(waiting):
        if i % 2:
            _reset(each)
        each.close()
    sent = await load.ask("SendMessage", QueueUrl=QUIET, MessageBody="for the living")
    received = await load.ask("ReceiveMessage", QueueUrl=QUIET, WaitTimeSeconds=5, AttributeNames=ATTRIBUTES)
    messages = received.members.get("Messages", [])
    counts = [message["Attributes"]["ApproximateReceiveCount"] for message in messages]
    if sent.outcome is received.outcome is Outcome.ACKNOWLEDGED and counts != ["1"]:
        load.history.mistakes.append(f"a message was taken for a client that had gone: receive counts {counts}")
    for message in messages:
        await load.ask("DeleteMessage", QueueUrl=QUIET, ReceiptHandle=message["ReceiptHandle"])


def posted(action: str, **members: Any) -> bytes:
    """Return the bytes of a request."""
    body = json.dumps(members).encode()
    head = f"POST / HTTP/1.1\r\nHost: q\r\nX-Amz-Target: AmazonSQS.{action}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _leave(here: tuple[str, int], sent: bytes) -> None:
    """Send something and hang up at once, with a reset."""
    with socket.create_connection(here) as client:
        client.sendall(sent)
        _reset(client)


def _reset(client: socket.socket) -> None:
    """Let the end of a connection be a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def power_lost(stage: Stage, load: Load) -> None:
    """Kill Redis, and leave in its file only what the disk has had for certain, and a torn function behind it.

    SIGKILL alone leaves what was written to the operating system. A Redis started on a torn file must write it anew, or
    its next start does the first half of the function. questd has its private one do so; of another it is the
    operator's part.
    """
    since, killed = await stage.lose_power(0 if stage.durability == ALWAYS else UNSYNCED_SECONDS)
    if stage.durability != ALWAYS:
        load.history.cuts.append((since - UNWRITTEN_SECONDS, killed))
    if stage.server:
        await stage.rewrite_file()


@dataclass(frozen=True)
class Fault:
    """A fault of the table: how one stroke is made, how long questd works in between, and with which Redis."""

    name: str
    stroke: Stroke
    pause_seconds: float
    durabilities: tuple[str, ...] = (ALWAYS, EVERYSEC)


FAULTS = (
    Fault("none", nothing, 1),
    Fault("Redis killed", redis_killed, 1.5, (ALWAYS, EVERYSEC, EMBEDDED)),
    Fault("Redis frozen", redis_frozen, 1),
    Fault("connections cut", connections_cut, 0.05),
    Fault("memory full", memory_full, 0.5),
    Fault("functions flushed", functions_flushed, 0.2),
    Fault("data flushed", data_flushed, 2),
    Fault("read-only", read_only, 1),
    Fault("a worker killed", worker_killed, 0.5),
    Fault("workers replaced", workers_replaced, 0.5),
    Fault("clients vanish", clients_vanish, 0.1),
    Fault("power lost", power_lost, 1.5, (ALWAYS, EVERYSEC, EMBEDDED)),
)
