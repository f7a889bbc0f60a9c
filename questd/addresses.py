"""The URLs of a Redis: of one server, of a Sentinel's service or of a Cluster; and those of the servers behind it."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode

from redis.connection import ConnectionPool

from questd.wire import Node

FORMS = (
    "redis://[user:password@]host[:port][/db], rediss://… or unix:///path, "
    "redis+cluster://[user:password@]host:port[,host:port…] or "
    "redis+sentinel://[user:password@]host:port[,host:port…]/service[/db]"
)

SEVERAL = re.compile(r"(rediss?)\+(cluster|sentinel)://(?:([^/?]*)@)?([^@/?]+)(?:/([^?]*))?(?:\?(.*))?", re.DOTALL)
"""A URL of several servers: scheme, kind, user and password, addresses, path, query."""

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
"""One address: host (an IPv6 one in brackets) and port."""

PORTS = {"cluster": 6379, "sentinel": 26379}

OF_SENTINELS = ("sentinel_username", "sentinel_password")
"""Parameters that are for the Sentinels, who may have other users than the servers they watch."""


@dataclass(frozen=True)
class Addresses:
    """What a URL says: nodes are the seeds of a Cluster, or the Sentinels of a service; one server has none."""

    kind: Literal["server", "sentinel", "cluster"]
    url: str
    nodes: tuple[Node, ...] = ()
    service: str = ""
    scheme: str = "redis"
    user: str = ""
    db: str = ""
    query: tuple[tuple[str, str], ...] = ()

    def server(self, node: Node) -> str:
        """Return the URL of a server."""
        query = [(name, value) for name, value in self.query if name not in OF_SENTINELS]
        return self._url(self.user, node, self.db, query)

    def sentinel(self, node: Node) -> str:
        """Return the URL of a Sentinel."""
        query = dict(self.query)
        name, password = (quote(query.pop(each, ""), safe="") for each in OF_SENTINELS)
        return self._url(f"{name}:{password}@" if password else "", node, "", list(query.items()))

    def _url(self, user: str, node: Node, db: str, query: list[tuple[str, str]]) -> str:
        host = f"[{node.host}]" if ":" in node.host else node.host
        parameters = f"?{urlencode(query)}" if query else ""
        return f"{self.scheme}://{user}{host}:{node.port}/{db}{parameters}"


def read(url: str) -> Addresses:
    """Return what a URL says. Raises ValueError, TypeError or a RedisError when it cannot be used."""
    found = SEVERAL.fullmatch(url)
    if found is None:
        ConnectionPool.from_url(url).make_connection()
        return Addresses("server", url)
    scheme, kind, user, nodes, path, query = found.groups("")
    service, _, db = path.rstrip("/").partition("/")
    if kind == "cluster" and path.strip("/0"):
        raise ValueError("a Redis Cluster has one database, and no path")
    if kind == "sentinel" and (not service or not re.fullmatch(r"[0-9]*", db)):
        raise ValueError("the path is the name of the service, and a database")
    addresses = Addresses(
        "cluster" if kind == "cluster" else "sentinel",
        url,
        tuple(_node(address, PORTS[kind]) for address in nodes.split(",")),
        service,
        scheme,
        f"{user}@" if user else "",
        db,
        tuple(parse_qsl(query, keep_blank_values=True)),
    )
    for each in (addresses.server, addresses.sentinel):
        ConnectionPool.from_url(each(addresses.nodes[0])).make_connection()
    return addresses


def _node(address: str, port: int) -> Node:
    found = HOST.fullmatch(address)
    if found is None or not 0 < int(found[2] or port) < 2**16:
        raise ValueError("an address is host:port")
    return Node(found[1].strip("[]"), int(found[2] or port))
