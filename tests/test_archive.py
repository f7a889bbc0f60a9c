"""`questd export` and `questd import`: what is written, what is kept, and what becomes of it in another queue."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from questd import archive
from tests.people import ROOT, People, no_questd

EVERYTHING: dict[str, Any] = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"], "MaxNumberOfMessages": 10}
ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "é"},
    "number": {"DataType": "Number.float", "StringValue": "1.5"},
    "bytes": {"DataType": "Binary.png", "BinaryValue": "AAEC/w=="},
}
TRACE = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}


@pytest.fixture(autouse=True)
def _empty_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "WAIT", 0)


def read(file: Path) -> list[dict[str, Any]]:
    """Return the objects in a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_standard_queue(people: People, tmp_path: Path) -> None:
    """All that a message was sent with arrives in the other queue, in its order; the first queue is as it was."""
    url, other = await people.sqs.create("orders"), await people.sqs.create("copy")
    await people.sqs(
        "SendMessage", QueueUrl=url, MessageBody="é\n☃", MessageAttributes=ATTRIBUTES, MessageSystemAttributes=TRACE
    )
    await people.sqs("SendMessage", QueueUrl=url, MessageBody="fair", MessageGroupId="tenant")
    await people.sqs.fill(url, map(str, range(30)))
    await people.sqs.receive(url)
    await people.sqs("SendMessage", QueueUrl=url, MessageBody="later", DelaySeconds=60)
    file = tmp_path / "orders.jsonl"
    assert await people("export", "orders", str(file)) == [{"Queue": "orders", "Exported": 33}]
    assert await people.sqs.counts(url) == (31, 1, 1)
    assert await people("import", str(file), "copy") == [{"Queue": "copy", "Sent": 33}]
    first, fair, *rest = await people("peek", "copy", "-n", "100")
    assert (first["Body"], first["MessageAttributes"]) == ("é\n☃", ATTRIBUTES)
    assert first["Attributes"]["AWSTraceHeader"] == "Root=1"
    assert (fair["Body"], fair["Attributes"]["MessageGroupId"]) == ("fair", "tenant")
    assert [message["Body"] for message in rest] == [*map(str, range(30)), "later"]
    assert await people.sqs.counts(other) == (33, 0, 0)


async def test_a_fifo_queue(people: People, tmp_path: Path) -> None:
    """Groups, their order and deduplication ids are kept: what is sent twice within five minutes is there once."""
    url = await people.sqs.create("orders.fifo", FifoQueue="true")
    for number in range(12):
        ids = {"MessageGroupId": f"g{number % 2}", "MessageDeduplicationId": f"d{number}"}
        await people.sqs("SendMessage", QueueUrl=url, MessageBody=str(number), **ids)
    copy = await people.sqs.create("copy.fifo", FifoQueue="true")
    file = tmp_path / "orders.jsonl"
    await people("export", "orders.fifo", str(file))
    for _ in range(2):
        assert await people("import", str(file), "copy.fifo") == [{"Queue": "copy.fifo", "Sent": 12}]
    assert await people.sqs.counts(copy) == (12, 0, 0)
    for message in await people("peek", "copy.fifo", "-n", "100"):
        number = int(message["Body"])
        assert message["Attributes"]["MessageGroupId"] == f"g{number % 2}"
        assert message["Attributes"]["MessageDeduplicationId"] == f"d{number}"
    await people.sqs.create("standard")
    assert await people("import", str(file), "standard") == [{"Queue": "standard", "Sent": 12}]


async def test_into_a_fifo_queue(people: People, tmp_path: Path) -> None:
    """Messages of a standard queue go into a FIFO queue in the group that is named; each is one of its own."""
    await people.sqs.fill(await people.sqs.create("orders"), "aab")
    url = await people.sqs.create("copy.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    file = tmp_path / "orders.jsonl"
    await people("export", "orders", str(file))
    line = await people.refused("import", str(file), "copy.fifo")
    assert "MessageGroupId" in line
    assert line.endswith("(0 messages were sent)\n")
    await people("import", str(file), "copy.fifo", "--group", "all")
    found = await people.sqs.receive(url, **EVERYTHING)
    assert [(one["Body"], one["Attributes"]["MessageGroupId"]) for one in found] == [(body, "all") for body in "aab"]


async def test_drain(people: People, tmp_path: Path) -> None:
    """A drain takes messages out, from any server; those in flight and delayed stay."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, map(str, range(25)))
    await people.sqs.receive(url)
    await people.sqs("SendMessage", QueueUrl=url, MessageBody="later", DelaySeconds=60)
    file = tmp_path / "orders.jsonl"
    async with no_questd(people.sqs) as server:
        line = await people.refused("export", "orders", str(file), "--endpoint", server)
        assert "--drain takes them out" in line
        assert not file.exists()
        await people("export", "orders", str(file), "--drain", "--endpoint", server)
    assert [message["MessageBody"] for message in read(file)] == [str(number) for number in range(1, 25)]
    assert await people.sqs.counts(url) == (0, 1, 1)


async def test_a_drain_that_cannot_be_written(people: People) -> None:
    """What could not be written is not deleted."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, "abc")
    command = [sys.executable, "-m", "questd", "export", "orders", "-", "--drain"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230  # a device
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=buffered, stdout=full, stderr=asyncio.subprocess.PIPE
        )
        _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"questd: what was found cannot be written: No space left on device\n")
    assert await people.sqs.counts(url) == (0, 3, 0)


async def test_an_older_export_is_kept(people: People, tmp_path: Path) -> None:
    """A file that is there is never written over, and a drain that has no file takes nothing out."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, "abc")
    file = tmp_path / "orders.jsonl"
    file.write_text("precious")
    line = await people.refused("export", "orders", str(file), "--drain")
    assert line == f"questd: {file} is there already: name another file, or remove it\n"
    assert "cannot be made" in await people.refused("export", "orders", str(tmp_path / "none" / "x"), "--drain")
    assert file.read_text() == "precious"
    assert await people.sqs.counts(url) == (3, 0, 0)


async def test_in_a_pipe(people: People) -> None:
    """- is standard output and standard input; the sentence goes to people."""
    await people.sqs.fill(await people.sqs.create("orders"), map(str, range(5)))
    copy = await people.sqs.create("copy")
    told = await people.piped("export", "orders", "-")
    assert (told.status, len(told.lines), told.err) == (0, 5, "")
    told = await people.piped("import", "-", "copy", given=told.out.encode())
    assert told.lines == [{"Queue": "copy", "Sent": 5}]
    assert await people.sqs.counts(copy) == (5, 0, 0)


async def test_progress(people: People, tmp_path: Path) -> None:
    """At a terminal a bar shows how many of how many messages are done."""
    await people.sqs.fill(await people.sqs.create("orders"), map(str, range(250)))
    file = tmp_path / "orders.jsonl"
    told = await people.at_terminal("export", "orders", str(file))
    assert "exporting orders" in told.out
    assert "250/250" in told.out
    assert told.out.endswith("exported 250 messages of orders\n")
    told = await people.at_terminal("import", str(file), "orders")
    assert "importing to orders" in told.out
    assert "250/250" in told.out
    assert told.out.endswith("sent 250 messages to orders\n")


async def test_what_receive_and_peek_show_can_be_imported(people: People, tmp_path: Path) -> None:
    """Lines of receive and of peek are messages too, and so is a line of one's own."""
    await people.sqs.fill(await people.sqs.create("orders"), "ab")
    copy = await people.sqs.create("copy")
    file = tmp_path / "lines.jsonl"
    lines = [*await people("receive", "orders"), *await people("peek", "orders", "--state", "visible")]
    file.write_text("\n".join([*map(json.dumps, lines), "", '{"MessageBody": "c"}']))
    assert await people("import", str(file), "copy") == [{"Queue": "copy", "Sent": 3}]
    assert [message["Body"] for message in await people.sqs.receive(copy, MaxNumberOfMessages=10)] == ["a", "b", "c"]


async def test_a_line_that_is_no_message(people: People, tmp_path: Path) -> None:
    """The line that is wrong is named by its number, with what is wrong and how far it came."""
    url = await people.sqs.create("orders")
    file = tmp_path / "lines.jsonl"
    file.write_text('{"MessageBody": "x"}\n' * 20 + "\n{}\n")
    line = await people.refused("import", str(file), "orders")
    assert line == "questd: line 22 has no MessageBody (10 messages were sent)\n"
    assert await people.sqs.counts(url) == (10, 0, 0)
    assert "cannot be read: No such file" in await people.refused("import", str(tmp_path / "none"), "orders")
    assert "cannot be read: Is a directory" in await people.refused("import", str(tmp_path), "orders")
