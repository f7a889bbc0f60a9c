"""Queues declared in the TOML file: what is made of them in Redis."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from questd import declared, library
from questd.settings import BadSetting
from tests.client import ARN, Sqs, serving
from tests.clusters import ClusterServers
from tests.servers import RedisServer
from tests.test_tables import configured, refused

ORDERS = """\
port = 9999

[queues.orders]
VisibilityTimeout = 45
SqsManagedSseEnabled = false
dead_letter_queue = "orders-dead"
max_receive_count = 5
tags = { team = "shop", stage = "test" }

[queues."mail.fifo"]
ContentBasedDeduplication = true
RedriveAllowPolicy = { redrivePermission = "denyAll" }

[queues.orders-dead]
MessageRetentionPeriod = "1209600"
"""


@pytest.fixture
async def loaded(redis_server: RedisServer) -> RedisServer:
    """Return a Redis with the library, and nothing else."""
    await library.load(redis_server.url, test_mode=True)
    return redis_server


def writes(redis: RedisServer) -> int:
    """Return how often anything was written to a Redis."""
    with redis.client() as client:
        return int(client.info("persistence")["rdb_changes_since_last_save"])


async def made(redis: RedisServer, path: Path, content: str, **settings: Any) -> None:
    """Make the queues that a file declares."""
    await declared.make(configured(path, content, redis_url=redis.url, test_mode=True, **settings))


async def described(sqs: Sqs, name: str) -> dict[str, str]:
    """Return the attributes of a queue."""
    return await sqs.attributes((await sqs("GetQueueUrl", QueueName=name))["QueueUrl"])


async def test_queues_are_made(loaded: RedisServer, tmp_path: Path) -> None:
    """Attributes, dead-letter queues, FIFO by name and tags are as the file says; a dead-letter queue may stand last."""
    await made(loaded, tmp_path, ORDERS)
    with loaded.client() as client:  # in one step, since its dead-letter queue came first
        assert client.hget("quest:{orders}", "version").endswith(b".1")
    async with serving(loaded.url) as sqs:
        orders = await described(sqs, "orders")
        assert (orders["VisibilityTimeout"], orders["SqsManagedSseEnabled"]) == ("45", "false")
        policy = {"deadLetterTargetArn": f"{ARN}:orders-dead", "maxReceiveCount": 5}
        assert json.loads(orders["RedrivePolicy"]) == policy
        assert (await sqs("ListQueueTags", QueueUrl="orders"))["Tags"] == {"team": "shop", "stage": "test"}
        mail = await described(sqs, "mail.fifo")
        assert (mail["FifoQueue"], mail["ContentBasedDeduplication"]) == ("true", "true")
        assert json.loads(mail["RedriveAllowPolicy"]) == {"redrivePermission": "denyAll"}
        assert (await described(sqs, "orders-dead"))["MessageRetentionPeriod"] == "1209600"


async def test_what_is_so_already_is_not_written(loaded: RedisServer, tmp_path: Path) -> None:
    """A second start changes nothing at all in Redis."""
    await made(loaded, tmp_path, ORDERS)
    before = writes(loaded)
    await made(loaded, tmp_path, ORDERS)
    assert writes(loaded) == before > 0


async def test_queues_are_changed(loaded: RedisServer, tmp_path: Path) -> None:
    """What the file says otherwise now is changed; other attributes, tags and queues stay."""
    await made(loaded, tmp_path, ORDERS)
    async with serving(loaded.url) as sqs:
        await sqs.create("other")
        await sqs("TagQueue", QueueUrl="orders", Tags={"by": "hand"})
        await sqs.set("orders", DelaySeconds="7")
        await made(loaded, tmp_path, '[queues.orders]\nVisibilityTimeout = 46\ntags = { team = "store" }')
        orders = await described(sqs, "orders")
        assert (orders["VisibilityTimeout"], orders["DelaySeconds"]) == ("46", "7")
        assert json.loads(orders["RedrivePolicy"])["maxReceiveCount"] == 5
        tags = (await sqs("ListQueueTags", QueueUrl="orders"))["Tags"]
        assert tags == {"team": "store", "stage": "test", "by": "hand"}
        assert len((await sqs("ListQueues"))["QueueUrls"]) == 4


async def test_cycles_of_dead_letter_queues(loaded: RedisServer, tmp_path: Path) -> None:
    """Queues may be each other's dead-letter queue, or their own, as on AWS; a second start writes nothing."""
    content = "".join(
        f'[queues.{name}]\ndead_letter_queue = "{dead}"\nmax_receive_count = 1\n'
        for name, dead in {"a": "b", "b": "c", "c": "a", "own": "own", "to-a": "a"}.items()
    )
    await made(loaded, tmp_path, content)
    before = writes(loaded)
    await made(loaded, tmp_path, content)
    assert writes(loaded) == before
    async with serving(loaded.url) as sqs:
        for name, dead in {"a": "b", "b": "c", "c": "a", "own": "own", "to-a": "a"}.items():
            policy = json.loads((await described(sqs, name))["RedrivePolicy"])
            assert policy["deadLetterTargetArn"] == f"{ARN}:{dead}"


async def test_several_at_once(loaded: RedisServer, tmp_path: Path) -> None:
    """Several questds that start at once make the same queues, and none of them fails."""
    settings = configured(tmp_path, ORDERS, redis_url=loaded.url, test_mode=True)
    await asyncio.gather(*(declared.make(settings) for _ in range(8)))
    async with serving(loaded.url) as sqs:
        assert len((await sqs("ListQueues"))["QueueUrls"]) == 3
        assert "RedrivePolicy" in await described(sqs, "orders")


async def test_a_cluster(servers: ClusterServers, tmp_path: Path) -> None:
    """In a Cluster queues and their dead-letter queues are made in slots of their own, and nothing is written twice."""
    await library.load(servers.url, test_mode=True)
    settings = configured(tmp_path, ORDERS, redis_url=servers.url, test_mode=True)
    await declared.make(settings)
    assert [what for _, what in await declared.outlook(settings)] == ["is as it is declared"] * 3
    async with serving(servers.url) as sqs:
        assert len((await sqs("ListQueues"))["QueueUrls"]) == 3
        assert "RedrivePolicy" in await described(sqs, "orders")
        sources = await sqs("ListDeadLetterSourceQueues", QueueUrl="orders-dead")
        assert [url.rpartition("/")[2] for url in sources["queueUrls"]] == ["orders"]


async def test_regions_and_accounts(loaded: RedisServer, tmp_path: Path) -> None:
    """With multi_region a queue may be in another region and account; its dead-letter queue is there too."""
    content = """
    [queues.orders]
    region = "eu-west-1"
    account = "111122223333"
    dead_letter_queue = "dead"
    max_receive_count = 2
    tags = { a = "b" }
    [queues.dead]
    region = "eu-west-1"
    account = "111122223333"
    """
    await made(loaded, tmp_path, content, multi_region=True)
    before = writes(loaded)
    await made(loaded, tmp_path, content, multi_region=True)
    assert writes(loaded) == before
    settings = configured(tmp_path, content, redis_url=loaded.url, multi_region=True)
    assert [what for _, what in await declared.outlook(settings)] == ["is as it is declared"] * 2
    async with serving(loaded.url, multi_region=True) as sqs:
        url = f"{sqs.url}/queue/eu-west-1/111122223333/orders"
        assert (await sqs.attributes(url))["QueueArn"] == "arn:aws:sqs:eu-west-1:111122223333:orders"
        assert "arn:aws:sqs:eu-west-1:111122223333:dead" in (await sqs.attributes(url))["RedrivePolicy"]
        assert (await sqs("ListQueueTags", QueueUrl=url))["Tags"] == {"a": "b"}
        assert await sqs("ListQueues") == {}
    assert "[queues.orders] is in another region" in refused(tmp_path, content)


async def test_what_redis_refuses_names_the_line(loaded: RedisServer, tmp_path: Path) -> None:
    """A dead-letter queue that is nowhere is AWS's error, with the line."""
    content = f'[queues.a]\n\nRedrivePolicy = {{ deadLetterTargetArn = "{ARN}:nowhere", maxReceiveCount = 1 }}'
    with pytest.raises(BadSetting, match=r"questd.toml, line 3: \[queues.a\] .*Dead letter target does not exist"):
        await made(loaded, tmp_path, content)


async def test_limits_are_the_settings(loaded: RedisServer, tmp_path: Path) -> None:
    """A queue may have what the server's settings allow, and no more."""
    content = "[queues.a]\nMaximumMessageSize = 2097152"
    assert "MaximumMessageSize" in refused(tmp_path, content)
    await made(loaded, tmp_path, content, max_message_size=2097152)
