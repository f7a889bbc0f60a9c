"""History: what is remembered of the last hour, and what it costs."""

import asyncio
import time
from collections import deque

import pytest

from questd import errors, history, library, server
from questd.action import Questd
from questd.history import History, Sample, levels, note, rates
from questd.settings import Settings
from tests.client import Sqs
from tests.servers import DEFAULT, running


def test_nothing_new_is_not_kept() -> None:
    """A queue that stays as it is has two samples, the first and the latest."""
    samples: deque[Sample] = deque()
    for second in range(50):
        note(samples, Sample(second, 1, 0, 0, 5))
    assert [sample.time for sample in samples] == [0, 49]
    note(samples, Sample(50, 2, 0, 0, 6))
    note(samples, Sample(51, 2, 0, 0, 6))
    note(samples, Sample(52, 2, 0, 0, 6))
    assert [sample.time for sample in samples] == [0, 49, 50, 52]


def test_rates() -> None:
    """Between two samples so many messages came, and so many left, in whatever state they were."""
    samples = [Sample(0, 0, 0, 0, 0), Sample(10, 10, 5, 5, 40), Sample(20, 0, 0, 0, 40), Sample(30, 0, 0, 0, 0)]
    assert rates(samples) == {"in": [(0, 4), (10, 0), (20, 0)], "out": [(0, 2), (10, 2), (20, 0)]}
    assert levels(samples[:2]) == {
        "visible": [(0, 0), (10, 10)],
        "in flight": [(0, 0), (10, 5)],
        "delayed": [(0, 0), (10, 5)],
    }


async def test_look(sqs: Sqs, questd: Questd) -> None:
    """A look remembers each queue and all together; a queue that is gone is forgotten."""
    past = History()
    await past.look(questd)
    assert [sample[1:] for sample in past.samples(None)] == [(0, 0, 0, 0)]
    await sqs.fill(await sqs.create("a"), "xyz")
    await sqs.fill(await sqs.create("b"), "x")
    await sqs.receive("a")
    await past.look(questd)
    assert [sample[1:] for sample in past.samples("a")] == [(2, 1, 0, 3)]
    assert past.samples(None)[-1][1:] == (3, 1, 0, 4)
    await sqs("DeleteQueue", QueueUrl="a")
    await past.look(questd)
    assert past.samples("a") == []
    assert past.samples(None)[-1][1:] == (1, 0, 0, 1)


async def test_an_hour_only(questd: Questd, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older than an hour is not shown."""
    await sqs.create("a")
    past = History()
    await past.look(questd)
    later = time.monotonic() + history.SPAN_SECONDS + 1
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: later)
        assert past.samples("a") == []


async def test_a_limit(questd: Questd, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many queues only the first by name are looked at."""
    monkeypatch.setattr(history, "QUEUES", 2)
    for name in "cab":
        await sqs.create(name)
    past = History()
    await past.look(questd)
    assert [len(past.samples(name)) for name in "abc"] == [1, 1, 0]


async def test_keeping_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Redis is away there is a gap; then it goes on."""
    monkeypatch.setattr(history, "EVERY_SECONDS", 0.01)
    past = History()
    with running(DEFAULT) as redis:
        await library.load(redis.url, test_mode=False)
        async with server.running(Settings(redis_url=redis.url)) as questd:
            keeping = asyncio.create_task(past.keep(questd))
            while not past.samples(None):
                await asyncio.sleep(0.01)
            redis.stop()
            with pytest.raises(errors.ServiceUnavailable):
                await past.look(questd)
            redis.start()
            await library.load(redis.url, test_mode=False)
            seen = past.samples(None)[-1].time
            while past.samples(None)[-1].time == seen:
                await asyncio.sleep(0.01)
            assert not keeping.done()
            keeping.cancel()
