"""`questd mirror`: messages moved between servers with boto3, none of them lost."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from questd import mirror
from tests.client import Sqs, serving
from tests.people import ROOT, People
from tests.servers import free_port, running

EVERYTHING: dict[str, Any] = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"], "MaxNumberOfMessages": 10}
ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "é"},
    "bytes": {"DataType": "Binary", "BinaryValue": "AAEC/w=="},
}


@pytest.fixture(autouse=True)
def _empty_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "WAIT", 0)


@pytest.fixture
async def other() -> AsyncIterator[Sqs]:
    """Give a client of another questd on a Redis of its own."""
    with running() as redis:
        async with serving(redis.url) as sqs:
            yield sqs


async def test_to_another_server(people: People, other: Sqs) -> None:
    """A FIFO queue arrives with attributes, groups, deduplication ids and order, and is empty then."""
    url = await people.sqs.create("orders.fifo", FifoQueue="true")
    for number in range(25):
        ids = {"MessageGroupId": f"g{number % 2}", "MessageDeduplicationId": f"d{number}"}
        await people.sqs("SendMessage", QueueUrl=url, MessageBody=str(number), MessageAttributes=ATTRIBUTES, **ids)
    there = await other.create("copy.fifo", FifoQueue="true")
    told = await people("mirror", "orders.fifo", there)
    assert told == [{"Source": url, "Target": there, "Moved": 25}]
    assert await people.sqs.counts(url) == (0, 0, 0)
    found: list[dict[str, Any]] = []
    while len(found) < 25:
        found += await other.receive(there, **EVERYTHING)
        for message in found[-10:]:
            await other("DeleteMessage", QueueUrl=there, ReceiptHandle=message["ReceiptHandle"])
    for group in ("g0", "g1"):
        bodies = [int(one["Body"]) for one in found if one["Attributes"]["MessageGroupId"] == group]
        assert bodies == [number for number in range(25) if f"g{number % 2}" == group]
    assert all(one["MessageAttributes"] == ATTRIBUTES for one in found)
    assert {one["Attributes"]["MessageDeduplicationId"] for one in found} == {f"d{number}" for number in range(25)}


async def test_from_another_server(people: People, other: Sqs) -> None:
    """A standard queue's messages go into a FIFO queue in the group that is named, those that are alike too."""
    source = await other.create("orders")
    await other.fill(source, "aab")
    url = await people.sqs.create("copy.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    [told] = await people("mirror", source, "copy.fifo", "--group", "all")
    assert told["Moved"] == 3
    assert [message["Body"] for message in await people.sqs.receive(url, **EVERYTHING)] == ["a", "a", "b"]


async def test_what_the_target_refuses(people: People) -> None:
    """A message that the target does not take stays in the source, and is named; what it took is gone there."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, ["a", "b", "c" * 2000, "d"])
    there = await people.sqs.create("small", MaximumMessageSize="1024")
    names = [message["MessageId"] for message in await people("peek", "orders")]
    line = await people.refused("mirror", "orders", "small")
    assert f"small refused message {names[2]}, " in line
    assert line.endswith("it is still in orders\n")
    assert [message["Body"] for message in await people("peek", "orders")] == ["c" * 2000]
    assert (await people.sqs.counts(there))[0] == 3


async def test_a_target_that_goes_away(people: People) -> None:
    """Nothing is deleted when the target is not there."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, "abc")
    line = await people.refused("mirror", "orders", f"http://127.0.0.1:{free_port()}/000000000000/copy")
    assert "Could not connect" in line
    assert sum(await people.sqs.counts(url)) == 3
    assert "there is no queue nowhere at http" in await people.refused("mirror", "orders", "nowhere")
    assert "is source and target" in await people.refused("mirror", "orders", url)


async def test_it_follows(people: People) -> None:
    """With --follow it waits for more, until Ctrl-C, which is no error to look at."""
    url, there = await people.sqs.create("orders"), await people.sqs.create("copy")
    process = await people.start("mirror", "orders", "copy", "--follow")
    for number in range(2):
        await people.sqs.fill(url, [str(number)])
        assert [one["Body"] for one in await people.sqs.receive(there, WaitTimeSeconds=20)] == [str(number)]
    while sum(await people.sqs.counts(url)):
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


def test_without_boto3() -> None:
    """Where boto3 is not installed, the line says how to install it."""
    program = (
        "import sys; sys.modules['boto3'] = sys.modules['botocore'] = None; "
        "from questd.__main__ import main; sys.exit(main(['mirror', 'a', 'b']))"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (1, "questd: mirror needs boto3: pip install 'questd[mirror]'\n")
