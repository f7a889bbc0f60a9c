"""Facts of a queue, out of its hash in Redis."""

import pytest

from questd.facts import Facts
from tests.client import serving
from tests.servers import RedisServer


@pytest.mark.parametrize(
    ("name", "group", "grouped"), [("q", None, False), ("q", "tenant", True), ("q.fifo", "g", True)]
)
async def test_which_queues_have_groups(
    redis_server: RedisServer, name: str, group: str | None, *, grouped: bool
) -> None:
    """A FIFO queue has groups, and a standard one from its first message with a group on."""
    message = {"MessageBody": "x"} | ({"MessageGroupId": group} if group else {})
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if name.endswith(".fifo") else {}
    async with serving(redis_server.url) as sqs:
        url = await sqs.create(name, **fifo)
        await sqs("SendMessage", QueueUrl=url, **message)
        with redis_server.client() as client:
            fields = client.hgetall(f"quest:{{{name}}}")
        facts = Facts.of(name, [part for pair in fields.items() for part in pair])
    assert (facts.key, facts.grouped, facts.FifoQueue) == (f"quest:{{{name}}}", grouped, bool(fifo))
    assert (facts.MaximumMessageSize, facts.ReceiveMessageWaitTimeSeconds, facts.Policy) == (2**20, 0, "")
    assert facts.ContentBasedDeduplication == bool(fifo)
