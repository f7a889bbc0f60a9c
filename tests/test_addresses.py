"""URLs of one server, of a Sentinel's service and of a Cluster, and what is wrong with others."""

import pytest

from questd.addresses import Addresses, read
from questd.wire import Node


@pytest.mark.parametrize("url", ["redis://host", "rediss://u:p@host:1/2?socket_timeout=3", "unix:///run/redis.sock"])
def test_one_server(url: str) -> None:
    """The URL of one server is taken as it is."""
    assert read(url) == Addresses("server", url)


def test_a_cluster() -> None:
    """A Cluster has one or more seeds; user, password and parameters are for every node."""
    cluster = read("rediss+cluster://u:p%40@one:1,[::1]:2,three?ssl_cert_reqs=none")
    assert cluster.kind == "cluster"
    assert cluster.nodes == (Node("one", 1), Node("::1", 2), Node("three", 6379))
    assert cluster.server(Node("fe::2", 7)) == "rediss://u:p%40@[fe::2]:7/?ssl_cert_reqs=none"
    assert read("redis+cluster://host/0").server(Node("a", 1)) == "redis://a:1/"


def test_a_sentinel() -> None:
    """A Sentinel's URL names service and database; its own user is in the query, and goes to no server."""
    url = "redis+sentinel://u:p@one,two:7/main/3?sentinel_username=s%25&sentinel_password=x%2F&socket_keepalive=yes"
    sentinel = read(url)
    assert (sentinel.kind, sentinel.service) == ("sentinel", "main")
    assert sentinel.nodes == (Node("one", 26379), Node("two", 7))
    assert sentinel.server(Node("a", 1)) == "redis://u:p@a:1/3?socket_keepalive=yes"
    assert sentinel.sentinel(sentinel.nodes[1]) == "redis://s%25:x%2F@two:7/?socket_keepalive=yes"
    assert read("redis+sentinel://u:p@one/main").sentinel(Node("one", 1)) == "redis://one:1/"


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://host/1",
        "redis+cluster://one:1,",
        "redis+cluster://one:99999",
        "redis+cluster://one:0",
        "redis+cluster://a:b:c",
        "redis+cluster://host?zzz=1",
        "redis+sentinel://host",
        "redis+sentinel://host/",
        "redis+sentinel://host/main/x",
        "redis+raft://host",
        "http://host",
    ],
)
def test_what_is_no_url_of_a_redis(url: str) -> None:
    """Everything else is refused."""
    with pytest.raises((ValueError, TypeError)):
        read(url)
