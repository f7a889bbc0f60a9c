"""Peek from Python: pages, searches and drops on a running questd."""

import asyncio
from typing import Any

import pytest

from questd import errors
from questd.action import Questd
from questd.peek import Look, drop, peek
from tests.client import Sqs


async def test_a_peeked_message_is_what_a_receive_shows(sqs: Sqs, questd: Questd) -> None:
    """A peek shows all that a receive shows, with the counts of the receives there were."""
    url = await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    attributes = {"a": {"DataType": "String", "StringValue": "b"}}
    await sqs("SendMessage", QueueUrl=url, MessageBody="é", MessageGroupId="g", MessageAttributes=attributes)
    [peeked] = (await peek(questd, "q.fifo")).messages
    assert (peeked.state, peeked.until_ms) == ("visible", None)
    assert peeked.message["Attributes"]["ApproximateReceiveCount"] == "0"
    everything: dict[str, Any] = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    [received] = await sqs.receive(url, **everything)
    [peeked] = (await peek(questd, "q.fifo")).messages
    assert peeked.state == "inflight"
    assert peeked.message | {"ReceiptHandle": ""} == received | {"ReceiptHandle": ""}
    assert peeked.message["Attributes"]["SequenceNumber"] == received["Attributes"]["SequenceNumber"]
    reply = await sqs.ask("DeleteMessage", QueueUrl=url, ReceiptHandle=peeked.message["ReceiptHandle"])
    assert reply.error[2] == "ReceiptHandleIsInvalid"


async def test_pages(sqs: Sqs, questd: Questd) -> None:
    """Pages of any size lead through all messages, each once and in the order of their sending."""
    bodies = [str(number) for number in range(250)]
    await sqs.fill(await sqs.create(), bodies)
    for limit in (7, 100, 220, 1000):
        after, seen = 0, []
        while True:
            page = await peek(questd, "q", Look(after=after, limit=limit))
            assert len(page.messages) <= limit
            seen += [peeked.message["Body"] for peeked in page.messages]
            if page.after is None:
                break
            assert len(page.messages) == limit
            after = page.after
        assert seen == bodies


async def test_states(sqs: Sqs, questd: Questd) -> None:
    """Some of the states can be asked for."""
    url = await sqs.create()
    await sqs.fill(url, "ab")
    await sqs.receive(url)
    await sqs("SendMessage", QueueUrl=url, MessageBody="c", DelaySeconds=9)

    async def shown(*states: Any) -> str:
        return "".join(peeked.message["Body"] for peeked in (await peek(questd, "q", Look(states))).messages)

    assert await shown("visible") == "b"
    assert await shown("inflight", "delayed") == "ac"


async def test_a_search_says_how_far_it_came(sqs: Sqs, questd: Questd) -> None:
    """A search looks at a limited number of messages, and is continued where it ended."""
    url = await sqs.create()
    await asyncio.gather(*(sqs.fill(url, ["hay"] * 1000) for _ in range(11)))
    await sqs("SendMessage", QueueUrl=url, MessageBody="a needle")
    page = await peek(questd, "q", Look(contains="needle"))
    assert (page.messages, page.after, page.looked_at) == ([], 10_000, 10_000)
    page = await peek(questd, "q", Look(contains="needle", after=page.after or 0))
    assert (len(page.messages), page.after, page.looked_at) == (1, None, 1001)


async def test_drop(sqs: Sqs, questd: Questd) -> None:
    """What was looked at can be dropped, also while somebody has it."""
    url = await sqs.create()
    await sqs.fill(url, "abc")
    await sqs.receive(url)
    messages = [(peeked.sequence, peeked.message["MessageId"]) for peeked in (await peek(questd, "q")).messages]
    assert await drop(questd, "q", messages[:2]) == 2
    assert await drop(questd, "q", messages[:2]) == 0
    assert await sqs.counts(url) == (1, 0, 0)


async def test_no_queue(questd: Questd) -> None:
    """A queue that is not there cannot be looked at."""
    for attempt in (peek(questd, "none"), drop(questd, "none", [(1, "0" * 32)])):
        with pytest.raises(errors.QueueDoesNotExist):
            await attempt
