"""Figures of a queue, from Python."""

import pytest

from questd import errors
from questd.action import Questd
from questd.figures import figures
from tests.client import serving
from tests.servers import RedisServer


async def test_figures_by_name(redis_server: RedisServer, questd: Questd) -> None:
    """What clients did to a queue shows in its figures, with names for each."""
    async with serving(redis_server.url) as sqs:
        url = await sqs.create()
        empty = await figures(questd, "q")
        assert (empty.visible, empty.oldest_ms, empty.age_ms, empty.paused) == (0, None, 0, False)
        await sqs.fill(url, "abc")
        await sqs("SendMessage", QueueUrl=url, MessageBody="d", DelaySeconds=9)
        await sqs.receive(url)
        before = await figures(questd, "q")
        await sqs.advance(5)
        found = await figures(questd, "q")
        assert (found.visible, found.in_flight, found.delayed) == (2, 1, 1)
        assert found.oldest_ms == before.oldest_ms
        assert 5000 <= found.age_ms - before.age_ms < 10_000
        assert (found.noisy_groups, found.waiting, found.dead_lettered, found.paused) == (0, 0, 0, False)


async def test_no_queue(questd: Questd) -> None:
    """A queue that is not there has no figures."""
    with pytest.raises(errors.QueueDoesNotExist):
        await figures(questd, "none")
