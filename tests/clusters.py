"""A real Redis Cluster of a test's own: primaries that share the slots, and a replica of each when it is to fail over."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis
from redis.crc import key_slot

from tests.servers import DEFAULT, RedisServer, free_port, running
from tests.waiting import until

SLOTS = 16384
TIMEOUT_MS = 500
"""After so long a silent node is taken for dead."""


@dataclass
class Node:
    """A node of the cluster."""

    server: RedisServer
    client: Any
    id: str
    bus: int

    def run(self, *command: str | int) -> Any:
        """Run a command on this node."""
        return self.client.execute_command(*command)

    def knows(self, count: int) -> bool:
        """Tell whether the cluster is complete, and each of its nodes known here."""
        info = self.run("CLUSTER INFO")
        return bool(info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == count)

    @property
    def is_primary(self) -> bool:
        """Whether it is a primary, as it says itself."""
        try:
            return bool(self.run("ROLE")[0] == b"master")
        except redis.RedisError:
            return False


@dataclass
class ClusterServers:
    """Primaries with the slots in equal parts, and their replicas in the same order."""

    primaries: list[Node]
    replicas: list[Node]

    @property
    def nodes(self) -> list[Node]:
        """Every node."""
        return self.primaries + self.replicas

    @property
    def url(self) -> str:
        """The URL by which questd finds all of it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.server.port}" for node in self.nodes)

    def at(self, key: str) -> Node:
        """Return the primary that had the slot of a key in the beginning."""
        return self.primaries[key_slot(key.encode()) * len(self.primaries) // SLOTS]

    def replicated(self, place: int) -> bool:
        """Tell whether all that a primary has done is on its replica."""
        primary, replica = (each[place].client.info("replication") for each in (self.primaries, self.replicas))
        return bool(primary["master_repl_offset"] == replica["master_repl_offset"])

    def name_at(self, place: int, start: str = "q") -> str:
        """Return a name for a queue in the slots of a primary."""
        return next(name for i in range(1000) if self.at(name := f"{start}{i}") is self.primaries[place])

    def move(self, slot: int, source: Node, target: Node, between: Callable[[], None] = lambda: None) -> None:
        """Move a slot key by key, with `between` in every half-moved state."""
        target.run("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.run("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
        between()
        while keys := source.run("CLUSTER GETKEYSINSLOT", slot, 1):
            source.run("MIGRATE", "127.0.0.1", target.server.port, "", 0, 5000, "KEYS", *keys)
            between()
        for node in (target, source):
            node.run("CLUSTER SETSLOT", slot, "NODE", target.id)

    def empty(self) -> None:
        """Forget all keys."""
        for node in self.primaries:
            node.client.flushall()


def spare_node(stack: contextlib.ExitStack, servers: ClusterServers) -> Node:
    """Start a node without slots that joins the cluster."""
    node = _node(stack, DEFAULT)
    node.run("CLUSTER MEET", "127.0.0.1", servers.primaries[0].server.port, servers.primaries[0].bus)
    count = len(servers.nodes) + 1
    until(lambda: all(each.knows(count) for each in (*servers.nodes, node)))
    return node


def _node(stack: contextlib.ExitStack, binary: str, *options: str) -> Node:
    bus = free_port()
    cluster = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", str(TIMEOUT_MS))
    options = ("--repl-diskless-sync-delay", "0", *options)
    server = stack.enter_context(running(binary, *cluster, "--cluster-allow-replica-migration", "no", *options))
    client = stack.enter_context(server.client())
    return Node(server, client, client.execute_command("CLUSTER MYID").decode(), bus)


@contextlib.contextmanager
def cluster(
    primaries: int = 3, *options: str, replicas: bool = False, binary: str = DEFAULT
) -> Iterator[ClusterServers]:
    """Run a Cluster for the length of the block; `options` are every node's."""
    with contextlib.ExitStack() as stack:
        count = 2 * primaries if replicas else primaries
        nodes = [_node(stack, binary, *options) for _ in range(count)]
        for place, node in enumerate(nodes[:primaries]):
            start, end = (-(-SLOTS * edge // primaries) for edge in (place, place + 1))
            node.run("CLUSTER ADDSLOTSRANGE", start, end - 1)
            node.run("CLUSTER SET-CONFIG-EPOCH", place + 1)
        for node in nodes[1:]:
            node.run("CLUSTER MEET", "127.0.0.1", nodes[0].server.port, nodes[0].bus)
        until(lambda: all(node.knows(count) for node in nodes))
        for primary, replica in zip(nodes, nodes[primaries:], strict=False):
            replica.run("CLUSTER REPLICATE", primary.id)
        made = ClusterServers(nodes[:primaries], nodes[primaries:])
        until(lambda: all(each.client.info("replication").get("master_link_status") == "up" for each in made.replicas))
        made.empty()  # a replica counts for the others once something was replicated
        until(lambda: all(len(shard[2:]) == 1 + replicas for node in nodes for shard in _slots(node)))
        yield made


def _slots(node: Node) -> list[Any]:
    with node.client.client() as raw:
        raw.response_callbacks.pop("CLUSTER SLOTS", None)
        return list(raw.execute_command("CLUSTER", "SLOTS"))
