"""Errands: requests that are one call have no task; whatever happens on the way, each gets its one answer."""

import asyncio
import json
from typing import Any

import pytest

from questd import errand
from questd.action import Questd
from questd.answer import Answer
from questd.library import key_of
from questd.request import Request
from tests.client import JSON


def _request(action: str, **members: Any) -> Request:
    body = json.dumps({"QueueUrl": "q"} | members).encode()
    return Request(
        "POST", "/", {key.lower(): value for key, value in JSON.items()} | {"x-amz-target": f"AmazonSQS.{action}"}, body
    )


def begun(questd: Questd, request: Request, done: errand.Done) -> errand.Errand:
    """Begin a request as a front does."""
    one = errand.Errand(questd, request, done)
    one.begin()
    return one


def _parsed(given: Answer) -> dict[str, Any]:
    assert given.status == 200, given.body
    parsed: dict[str, Any] = json.loads(given.body or b"{}")
    return parsed


async def ask(questd: Questd, action: str, **members: Any) -> dict[str, Any]:
    """Return the members of an answer."""
    return _parsed(await errand.answered(questd, _request(action, **members)))


async def idle(questd: Questd) -> None:
    """Wait until no request is counted as being in flight, for 5 s."""
    async with asyncio.timeout(5):
        while questd.capacity.requests:
            await asyncio.sleep(0)


async def check_received_once(questd: Questd) -> None:
    """Wait until a message is there, for 5 s; it is as one that nobody has received before."""
    async with asyncio.timeout(5):
        while not (received := await ask(questd, "ReceiveMessage", AttributeNames=["ApproximateReceiveCount"])):
            await asyncio.sleep(0.01)
    assert received["Messages"][0]["Attributes"] == {"ApproximateReceiveCount": "1"}


@pytest.fixture
async def queue(questd: Questd) -> Questd:
    """Give a questd with a queue `q` that it knows, whose clock it knows too."""
    await ask(questd, "CreateQueue", QueueName="q")
    await ask(questd, "ReceiveMessage")
    return questd


class Answers:
    """What was handed over, and when."""

    def __init__(self, wanted: int) -> None:
        self.given: list[Answer] = []
        self.all = asyncio.Event()
        self._wanted = wanted

    def take(self, given: Answer) -> None:
        """Take one answer."""
        self.given.append(given)
        if len(self.given) == self._wanted:
            self.all.set()


async def test_one_call_is_no_task(queue: Questd) -> None:
    """Requests that are one call are answered without a task; a long poll has one."""
    answers, before = Answers(3), asyncio.all_tasks()
    for action, members in (
        ("SendMessage", {"MessageBody": "x"}),
        ("ReceiveMessage", {}),
        ("DeleteMessage", {"ReceiptHandle": "none"}),
    ):
        begun(queue, _request(action, **members), answers.take)
        assert asyncio.all_tasks() == before, action
    await answers.all.wait()
    assert sorted(given.status for given in answers.given) == [200, 200, 404]
    poll = begun(queue, _request("ReceiveMessage", WaitTimeSeconds=20, VisibilityTimeout=0), answers.take)
    assert len(asyncio.all_tasks()) == len(before) + 1
    poll.cancel()


async def test_a_queue_that_has_changed(queue: Questd, redis_server: Any) -> None:
    """What another process has changed of a queue counts for the next request, in the same answer."""
    with redis_server.client() as client:
        version = client.hget(key_of("q"), "version")
        client.fcall("quest_set_attributes", 1, key_of("q"), version, "MaximumMessageSize", "1024")
    given = await errand.answered(queue, _request("SendMessage", MessageBody="x" * 1025))
    assert (given.status, given.error) == (400, "InvalidParameterValueException")
    assert queue.facts["q"].MaximumMessageSize == 1024


async def test_a_queue_that_is_gone(queue: Questd, redis_server: Any) -> None:
    """A queue that another process has deleted does not exist, and is known no more."""
    with redis_server.client() as client:
        client.fcall("quest_delete_queue", 1, key_of("q"))
    given = await errand.answered(queue, _request("SendMessage", MessageBody="x"))
    assert given.error == "QueueDoesNotExist"
    assert "q" not in queue.facts


async def test_one_answer_that_cannot_be_handed_over(queue: Questd, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and those whose replies came with its own get theirs."""

    def broken(_: Answer) -> None:
        raise ValueError("a mistake of the front")

    answers = Answers(2)
    for done in (answers.take, broken, answers.take):
        begun(queue, _request("SendMessage", MessageBody="x"), done)
    await answers.all.wait()
    assert [given.status for given in answers.given] == [200, 200]
    assert "could not be handed over" in caplog.text
    assert queue.capacity.requests == 0


async def test_a_mistake_beside_the_actions(
    questd: Questd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A path that is no action of SQS's has its answer too, whatever goes wrong, and the log says what."""

    async def broken(*_: Any) -> Answer:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("questd.answer.health", broken)
    given = await asyncio.wait_for(errand.answered(questd, Request("GET", "/health/live", {}, b"")), 5)
    assert (given.status, given.error) == (500, "InternalFailure")
    assert "a mistake of ours" in caplog.text


async def test_a_caller_that_goes_in_the_tick_of_its_answer(queue: Questd) -> None:
    """What was received for it goes back: the next receive gets it, as if for the first time."""
    await ask(queue, "SendMessage", MessageBody="x")
    task = asyncio.create_task(errand.answered(queue, _request("ReceiveMessage")))
    while not queue.library.primaries.of(key_of("q")).pipeline.waiting:
        await asyncio.sleep(0)
    while queue.library.primaries.of(key_of("q")).pipeline.waiting:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await check_received_once(queue)


async def test_what_was_cancelled_is_counted_no_more(queue: Questd) -> None:
    """A task that is cancelled before it has begun is out of the requests in flight all the same."""
    begun(queue, _request("ReceiveMessage", WaitTimeSeconds=20), lambda _: None).cancel()
    assert queue.capacity.requests == 1
    await idle(queue)


@pytest.mark.parametrize("knows_the_clock", [True, False])
async def test_what_was_given_up_is_undone(queue: Questd, *, knows_the_clock: bool) -> None:
    """A receive whose client goes while its call is under way gives back what it got, and is not begun anew."""
    await ask(queue, "SendMessage", MessageBody="x")
    if not knows_the_clock:  # the call does nothing then, and is made again
        queue.ahead_ms.clear()
    answers = Answers(1)
    begun(queue, _request("ReceiveMessage"), answers.take).cancel()
    await idle(queue)
    await check_received_once(queue)
    assert not answers.given


async def test_a_target_that_is_a_whole_url(questd: Questd) -> None:
    """It is answered as its path is, on the host of its header: the health of a process, and a request in Query."""
    given = await errand.answered(questd, Request("GET", "http://y:8/health/live", {"host": "x"}, b""))
    assert (given.status, given.body) == (200, b"live\n")
    await ask(questd, "CreateQueue", QueueName="q")
    given = await errand.answered(questd, Request("GET", "http://y:8/?Action=ListQueues", {"host": "x"}, b""))
    assert given.status == 200
    assert b"<QueueUrl>http://x/000000000000/q</QueueUrl>" in given.body
