"""A queue's slot on its way from one node of a cluster to another: no call changes anything in a half-moved slot."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from tests.lua.conftest import cluster_options, own_all_slots, wait_until_clustered
from tests.lua.functions import READING, WRITING
from tests.lua.quest import START_MS, Message, Quest, key_of
from tests.servers import DEFAULT, RedisServer, running

KEY = key_of("orders")
PARTS = ["messages", "deliveries", "visible", "inflight", "delayed"]


@dataclass
class Node:
    """A node of the cluster."""

    server: RedisServer
    quest: Quest
    id: str

    def run(self, *command: str | int) -> Any:
        """Run a command on this node."""
        return self.quest.redis.execute_command(*command)


@dataclass
class Cluster:
    """Two nodes; the source has all slots when a test begins."""

    source: Node
    target: Node
    slot: int

    def half_move(self, *keys: str) -> None:
        """Begin to move the slot, and move these keys."""
        self.target.run("CLUSTER SETSLOT", self.slot, "IMPORTING", self.source.id)
        self.source.run("CLUSTER SETSLOT", self.slot, "MIGRATING", self.target.id)
        self._move(*keys)

    def _move(self, *keys: str) -> None:
        port = self.target.server.port
        if keys:
            self.source.run("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)

    def finish(self) -> None:
        """Move the rest of the keys and give the slot to the target."""
        self._move(*self.source.run("CLUSTER GETKEYSINSLOT", self.slot, 100))
        for node in (self.target, self.source):
            node.run("CLUSTER SETSLOT", self.slot, "NODE", self.target.id)

    def take_home(self) -> None:
        """Give the slot back to the source, and empty both nodes."""
        for node in (self.source, self.target):
            node.run("CLUSTER SETSLOT", self.slot, "STABLE")
            node.quest.redis.flushall()
            node.run("CLUSTER SETSLOT", self.slot, "NODE", self.source.id)

    def contents(self) -> dict[str, bytes]:
        """Return every key of the slot on both nodes, as Redis would move it."""
        found = {}
        for node in (self.source, self.target):
            for key in node.run("CLUSTER GETKEYSINSLOT", self.slot, 100):
                with node.quest.redis.client() as one:
                    one.execute_command("ASKING")
                    found[str(key)] = one.dump(key)
        return found


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """Run two nodes that know each other."""
    with ExitStack() as stack:
        ports, made = [], []
        for _ in range(2):
            options = cluster_options()
            ports.append(options[-1])
            # Else a node that gave its last slot away becomes the other one's replica.
            server = stack.enter_context(running(DEFAULT, *options, "--cluster-allow-replica-migration", "no"))
            made.append(Node(server, Quest(stack.enter_context(server.client()), clustered=True), ""))
        own_all_slots(made[0].quest.redis)
        made[0].run("CLUSTER MEET", "127.0.0.1", made[1].server.port, ports[1])
        for node in made:
            wait_until_clustered(node.quest.redis)
        for node in made:
            node.id = node.run("CLUSTER MYID").decode()
        yield Cluster(made[0], made[1], made[0].run("CLUSTER KEYSLOT", KEY))


@pytest.fixture
def moving(nodes: Cluster) -> Iterator[Cluster]:
    """Give the two nodes, with clocks that stand still and the slot on the source."""
    for node in (nodes.source, nodes.target):
        node.quest.clock("freeze", START_MS)
    yield nodes
    nodes.take_home()


def _fill(quest: Quest) -> tuple[Message, Message]:
    """Make a queue with two visible messages, one in flight, one that has timed out and one delayed; the two received."""
    quest.create()
    quest.send("timed out", "in flight", "c", "d")
    quest.send("delayed", delay_ms=50)
    [timed_out] = quest.receive(1, 10)
    [held] = quest.receive(1, 60_000)
    quest.advance(10)
    return timed_out, held


def _refuses(node: Node, *command: str | bytes | float) -> None:
    """Expect a node that is asked for this slot to refuse a call."""
    with node.quest.redis.client() as one:
        one.execute_command("ASKING")
        with pytest.raises(redis.RedisError):
            one.execute_command("FCALL", *command)


@pytest.mark.parametrize("part", ["nothing", "the hash", *PARTS, "all but the hash", "all but the messages"])
def test_half_moved_slot(moving: Cluster, part: str) -> None:
    """Whatever part of a queue has moved, every writing function fails on both nodes and changes nothing on either."""
    timed_out, held = _fill(moving.source.quest)
    version = moving.source.quest.field("orders", "version")
    moved = {
        "nothing": [],
        "the hash": [KEY],
        "all but the hash": [f"{KEY}:{other}" for other in PARTS],
        "all but the messages": [KEY, *(f"{KEY}:{other}" for other in PARTS[1:])],
    }
    moving.half_move(*moved.get(part, [f"{KEY}:{part}"]))
    before = moving.contents()
    assert len(before) == 1 + len(PARTS)
    for node in (moving.source, moving.target):
        for function, arguments in WRITING.items():
            filled = [
                argument.format(version=version, handle=timed_out.handle) if isinstance(argument, str) else argument
                for argument in arguments
            ]
            _refuses(node, function, 1, KEY, *filled)
        _refuses(node, "sendMessage", 1, "orders", "value")
        _refuses(node, "getMessage", 1, "orders", 1)
        _refuses(node, "deleteMessage", 1, "orders", held.handle)
        for function in ("quest_attributes", "quest_peek", "quest_figures"):
            _refuses(node, function, 1, KEY, *READING[function])
    assert moving.contents() == before


def test_no_message_is_lost(moving: Cluster) -> None:
    """After calls in every stage of a move the queue is whole on its new node: each message once, the old handles good."""
    timed_out, held = _fill(moving.source.quest)
    version = moving.source.quest.field("orders", "version") or ""
    moving.half_move()
    for part in ("messages", "visible", "deliveries", "inflight", "delayed"):
        moving._move(f"{KEY}:{part}")
        for node in (moving.source, moving.target):
            _refuses(node, "quest_receive", 1, KEY, version, 10, 1000, "", 9, "", "p1", 0, 0, 1)
            _refuses(node, "quest_delete", 1, KEY, version, held.handle)
            _refuses(node, "quest_tick", 1, KEY, 0)
    moving.finish()
    quest = moving.target.quest
    quest.advance(10)
    assert quest.counts() == (3, 1, 1)
    assert sorted(quest.bodies(10, 60_000)) == ["c", "d", "timed out"]
    assert quest.change(timed_out, 0) == "OK"
    assert quest.delete(held) == ["OK"]
    quest.advance(50)
    assert sorted(quest.bodies(10, 60_000)) == ["delayed", "timed out"]
    assert quest.counts() == (0, 4, 0)


def test_list_made_while_its_slot_moves(moving: Cluster) -> None:
    """A list that is not there is not made in a half-moved slot, where its keys could end up on two nodes."""
    moving.half_move()
    for node in (moving.source, moving.target):
        _refuses(node, "sendMessage", 1, "orders", "value")
        _refuses(node, "quest_create", 1, KEY, "5ec2e7", 0, 2**20, 345_600)
    assert moving.contents() == {}
    moving.finish()
    assert moving.target.quest.create() == 1
