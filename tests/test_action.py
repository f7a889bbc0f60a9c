"""What actions may use: the facts of queues that a process keeps, and learns again."""

import pytest

from questd import errors
from questd.server import connected
from questd.settings import Settings
from tests.client import serving
from tests.servers import RedisServer


async def test_facts_are_learnt_again_when_they_changed(redis_server: RedisServer) -> None:
    """What one process changes the other one knows with its next request, which is still one."""
    async with serving(redis_server.url) as one, serving(redis_server.url) as two:
        url = await one.create(MaximumMessageSize="1024")
        assert (await two.ask("SendMessage", QueueUrl=url, MessageBody="x" * 2000)).status == 400
        await one("SetQueueAttributes", QueueUrl=url, Attributes={"MaximumMessageSize": "2048"})
        await two("SendMessage", QueueUrl=url, MessageBody="x" * 2000)
        await one("DeleteQueue", QueueUrl=url)
        await one.create(MaximumMessageSize="1024")
        assert (await two.ask("SendMessage", QueueUrl=url, MessageBody="x" * 2000)).status == 400


async def test_facts_of_a_queue_that_is_gone_are_forgotten(redis_server: RedisServer) -> None:
    """Who asks anew what a queue is, and hears that there is none, does not go by what it was."""
    async with serving(redis_server.url) as sqs, connected(Settings(redis_url=redis_server.url), "test") as questd:
        url = await sqs.create("q")
        known = await questd.facts_of("q")
        assert questd.facts == {"q": known}
        assert await questd.relearn("q") == known
        await sqs("DeleteQueue", QueueUrl=url)
        with pytest.raises(errors.QueueDoesNotExist):
            await questd.relearn("q")
        assert questd.facts == {}
