"""FIFO under fire: many groups, consumers in several processes that crash, a questd killed; per group strictly in order."""

import asyncio
import contextlib
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.servers import RedisServer
from tests.test_server import Client, process

GROUPS = 50
MESSAGES = 20
PROCESSES = 4


class Receive(NamedTuple):
    """Some messages of one group, as one receive gave them."""

    asked: float
    answered: float
    seconds: int
    numbers: list[int]


class Delete(NamedTuple):
    """A delete of one message; `done` when it was answered 200, None when nobody knows."""

    asked: float
    answered: float
    number: int
    done: bool | None


class Group:
    """What happened to one group."""

    def __init__(self) -> None:
        self.receives: list[Receive] = []
        self._deletes: dict[tuple[int, float], Delete] = {}

    def note(self, delete: Delete) -> None:
        """Note a delete, or what became of it."""
        self._deletes[delete.number, delete.asked] = delete

    @property
    def deletes(self) -> list[Delete]:
        """Return them all, in the order in which they were asked for."""
        return sorted(self._deletes.values())

    def check(self) -> None:
        """Fail when a message was lost, given out of order or after its delete, or two receives held the group at once."""
        assert {delete.number for delete in self.deletes if delete.done is not False} == set(range(MESSAGES)), "lost"
        for receive in self.receives:
            first = receive.numbers[0]
            assert receive.numbers == list(range(first, first + len(receive.numbers))), "a gap"
            before = {
                delete.number for delete in self.deletes if delete.done is not False and delete.asked < receive.answered
            }
            assert before >= set(range(first)), "one before it was not deleted yet"
            gone = {delete.number for delete in self.deletes if delete.done and delete.answered < receive.asked}
            assert not gone & set(receive.numbers), "given again after its delete"
        # A receive surely holds the group from its answer until its messages time out, counted from when it was asked,
        # or until it asks for the delete of the last of them.
        held = sorted((receive.answered, self._released(receive)) for receive in self.receives)
        for (_, until), (since, _) in itertools.pairwise(held):
            assert until <= since, "two hold the group"

    def _released(self, receive: Receive) -> float:
        out = receive.asked + receive.seconds
        mine = [
            delete for delete in self.deletes if delete.number in receive.numbers and receive.answered <= delete.asked
        ]
        deletes = {delete.number: delete.asked for delete in reversed(mine) if delete.done is not False}
        last = max(deletes.values()) if deletes.keys() == set(receive.numbers) else out
        return max(receive.answered, min(out, last))


def history(logs: list[Path]) -> dict[str, Group]:
    """Read what the consumers wrote down; the last line of one that was killed may be cut."""
    groups: dict[str, Group] = {f"g{number}": Group() for number in range(GROUPS)}
    for line in itertools.chain.from_iterable(
        log.read_text().splitlines(keepends=True) for log in logs if log.exists()
    ):
        if not line.endswith("\n"):
            continue
        entry = json.loads(line)
        if entry["kind"] != "receive":
            group, number = entry["name"]
            asked = entry["asked"]
            done = {None: None, 200: True, 0: None, 503: None}.get(entry.get("status"), False)
            groups[group].note(Delete(asked, entry.get("answered", math.inf), number, done))
        else:
            for group, names in itertools.groupby(entry["messages"], key=lambda name: name[0]):
                numbers = [number for _, number in names]
                groups[group].receives.append(Receive(entry["asked"], entry["answered"], entry["seconds"], numbers))
    return groups


def deleted(logs: list[Path]) -> int:
    """Return how many messages are known to be deleted."""
    groups = history(logs).values()
    return sum(len({delete.number for delete in group.deletes if delete.done}) for group in groups)


class Consumers:
    """Processes of consumers, each with a log of its own."""

    def __init__(self, directory: Path, queue: str, endpoints: list[str]) -> None:
        self.directory = directory
        self.arguments = [queue, *endpoints]
        self.logs: list[Path] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start one more."""
        number = len(self.logs)
        self.logs.append(self.directory / f"{number}.log")
        command = [sys.executable, "-m", "tests.fifo_consumer", str(self.logs[-1]), str(10 * number), *self.arguments]
        self.processes.append(subprocess.Popen(command, start_new_session=True))

    def crash_one(self) -> None:
        """Kill the oldest in the middle of whatever it does, and start another."""
        oldest = self.processes.pop(0)
        oldest.kill()
        oldest.wait()
        self.start()

    async def until(self, count: int) -> None:
        """Wait until so many messages are deleted."""
        async with asyncio.timeout(60):
            while await asyncio.to_thread(deleted, self.logs) < count:
                await asyncio.sleep(0.05)


@contextlib.contextmanager
def consuming(directory: Path, queue: str, endpoints: list[str]) -> Iterator[Consumers]:
    """Run consumers in four processes for the length of the block."""
    consumers = Consumers(directory, queue, endpoints)
    try:
        for _ in range(PROCESSES):
            consumers.start()
        yield consumers
    finally:
        for one in consumers.processes:
            one.kill()
            one.wait()


async def send_all(client: Client, url: str) -> None:
    """Send the messages of every group in order, groups in turn."""
    for number in range(MESSAGES):
        for start in range(0, GROUPS, 10):
            entries: list[dict[str, Any]] = [
                {
                    "Id": f"g{group}",
                    "MessageBody": json.dumps([f"g{group}", number]),
                    "MessageGroupId": f"g{group}",
                    "MessageDeduplicationId": f"g{group}.{number}",
                }
                for group in range(start, start + 10)
            ]
            await client.ask("SendMessageBatch", QueueUrl=url, Entries=entries)


async def emptied(client: Client, url: str) -> None:
    """Wait until the queue has no messages; who deleted the last ones may have lost the answer with the questd."""
    names = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible")]
    async with asyncio.timeout(60):
        while True:
            reply = await client.ask("GetQueueAttributes", QueueUrl=url, AttributeNames=names)
            if set(reply["Attributes"].values()) == {"0"}:
                return
            await asyncio.sleep(0.05)


async def test_groups_stay_in_order(redis_server: RedisServer, tmp_path: Path) -> None:
    """Fifty groups, eight consumers in four processes, timeouts, crashes, one of two questds killed: all in order."""
    total = GROUPS * MESSAGES
    async with (
        process("--redis-url", redis_server.url) as (first, killed),
        process("--redis-url", redis_server.url) as (second, _),
        aiohttp.ClientSession() as session,
    ):
        client = Client(session, [second, first])
        given = {"FifoQueue": "true"}
        url = (await client.ask("CreateQueue", QueueName="q.fifo", Attributes=given))["QueueUrl"]
        with consuming(tmp_path, url, [first, second]) as consumers:
            sending = asyncio.create_task(send_all(client, url))
            for step in (1, 2, 3):
                await consumers.until(step * total // 8)
                consumers.crash_one()
            killed.kill()
            await consumers.until(total // 2)
            consumers.crash_one()
            await sending
            await emptied(client, url)
    groups = history(consumers.logs)
    for name, group in groups.items():
        try:
            group.check()
        except AssertionError as error:
            error.add_note("\n".join(map(str, [name, *sorted(group.receives), *group.deletes])))
            raise
    assert sum(len(group.receives) for group in groups.values()) > total / 10
