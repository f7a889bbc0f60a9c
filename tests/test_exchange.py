"""`questd send`, `receive`, `peek` and `tail`."""

import asyncio
import json
import re
from typing import Any

from tests.people import People

EVERYTHING: dict[str, Any] = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"]}


async def test_send(people: People) -> None:
    """A body is sent with its attributes, and the answer is shown."""
    url = await people.sqs.create("orders")
    given = ("--attribute", "size=large", "--attribute", "n:Number=2", "--attribute", "b:Binary=AAE=")
    [told] = await people("send", "orders", "two = pizzas", *given)
    [message] = await people.sqs.receive(url, **EVERYTHING)
    assert (message["MessageId"], message["Body"]) == (told["MessageId"], "two = pizzas")
    assert message["MessageAttributes"] == {
        "size": {"DataType": "String", "StringValue": "large"},
        "n": {"DataType": "Number", "StringValue": "2"},
        "b": {"DataType": "Binary", "BinaryValue": "AAE="},
    }
    await people("send", "orders", "later", "--delay", "60")
    assert await people.sqs.counts(url) == (0, 1, 1)


async def test_send_to_a_queue_that_is_to_be_made(people: People) -> None:
    """With --create the queue is made, a FIFO queue if it is called so; groups and deduplication ids are kept."""
    for _ in range(2):
        await people("send", "--create", "orders", "x")
        await people("send", "--create", "orders.fifo", "x", "--group", "g", "--dedup", "d")
    plain, fifo = [(await people.sqs("GetQueueUrl", QueueName=f"orders{end}"))["QueueUrl"] for end in ("", ".fifo")]
    assert (await people.sqs.counts(plain), await people.sqs.counts(fifo)) == ((2, 0, 0), (1, 0, 0))
    [message] = await people.sqs.receive(fifo, **EVERYTHING)
    assert (message["Attributes"]["MessageGroupId"], message["Attributes"]["MessageDeduplicationId"]) == ("g", "d")


async def test_send_lines(people: People) -> None:
    """With - each line of standard input is a message, empty ones aside, and each has an answer of its own."""
    url = await people.sqs.create("orders")
    lines = [f"é {number}" for number in range(25)]
    told = await people.piped("send", "orders", "-", given=("\n\n".join(lines) + "\r\n").encode())
    assert (told.status, told.err) == (0, "")
    assert all(line.keys() == {"MessageId", "MD5OfMessageBody"} for line in told.lines)
    page = await people("peek", "orders", "-n", "100")
    assert [message["Body"] for message in page] == lines
    assert [message["MessageId"] for message in page] == [line["MessageId"] for line in told.lines]
    assert await people.sqs.counts(url) == (25, 0, 0)


async def test_lines_are_sent_as_they_come(people: People) -> None:
    """A line is sent at once, not when ten are together or the pipe ends."""
    url = await people.sqs.create("orders")
    process = await people.start("send", "orders", "-")
    assert process.stdin
    process.stdin.write(b"first\n")
    assert [message["Body"] for message in await people.sqs.receive(url, WaitTimeSeconds=20)] == ["first"]
    process.stdin.write(b"last")
    process.stdin.close()
    assert [message["Body"] for message in await people.sqs.receive(url, WaitTimeSeconds=20)] == ["last"]
    assert len((await process.communicate())[0].splitlines()) == 2
    assert process.returncode == 0


async def test_a_line_that_is_refused(people: People) -> None:
    """A line that cannot be sent is named, with how many were sent."""
    url = await people.sqs.create("orders")
    lines = [b"x"] * 12
    told = await people.piped("send", "orders", "-", given=b"\n".join([*lines, b"\x01"]))
    assert told.status == 1
    assert told.err.startswith("questd: line 13 was refused, InvalidMessageContents: ")
    assert told.err.endswith(" (12 messages were sent)\n")
    told = await people.piped("send", "orders", "-", given=b"\n".join([*lines, b"\xff", b""]))
    assert told.err == "questd: line 13 is no text in UTF-8 (10 messages were sent)\n"
    assert await people.sqs.counts(url) == (22, 0, 0)
    await people.sqs.create("orders.fifo", FifoQueue="true")
    told = await people.piped("send", "orders.fifo", "-", given=b"a\nb\n")
    assert told.err.startswith("questd: lines 1 to 2 were refused, ")


async def test_send_at_a_terminal(people: People) -> None:
    """At a terminal the message's id is told, and of many lines how many there were."""
    await people.sqs.create("orders")
    assert (await people.at_terminal("send", "orders", "x")).out.startswith("sent ")
    told = await people.at_terminal("send", "orders", "-", typed="a\nb\n\x04")
    assert "sending to orders" in told.out
    assert told.out.endswith("sent 2 messages to orders\n")


async def test_one_id_for_many_lines(people: People) -> None:
    """A deduplication id is of one message: with lines it would drop all but the first."""
    await people.sqs.create("orders.fifo", FifoQueue="true")
    line = await people.refused("send", "orders.fifo", "-", "--dedup", "x", status=2)
    assert "--dedup is the id of one message" in line


async def test_receive(people: People) -> None:
    """Messages are received as a consumer receives them, with all that is in them, as many as asked for."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, map(str, range(15)))
    [message] = await people("receive", "orders", "--visibility", "60")
    assert message["Body"] == "0"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    await people.sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert [one["Body"] for one in await people("receive", "orders", "-n", "12")] == [str(i) for i in range(1, 13)]
    await people.sqs.advance(30)
    assert await people.sqs.counts(url) == (14, 0, 0)


async def test_receive_and_delete(people: People) -> None:
    """With --delete what was shown is gone; without messages there is no line and status 0."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, map(str, range(15)))
    assert len(await people("receive", "orders", "-n", "100", "--delete")) == 15
    assert await people.sqs.counts(url) == (0, 0, 0)
    assert await people("receive", "orders") == []
    assert "no message to receive in orders" in (await people.at_terminal("receive", "orders")).out


async def test_receive_waits(people: People) -> None:
    """With --wait it waits for the first message, and does not wait for more."""
    url = await people.sqs.create("orders")
    waiting = asyncio.create_task(people("receive", "orders", "-n", "5", "--wait", "20"))
    await asyncio.sleep(0.05)
    await people.sqs.fill(url, "a")
    async with asyncio.timeout(5):
        assert [message["Body"] for message in await waiting] == ["a"]


async def test_receive_at_a_terminal(people: People) -> None:
    """At a terminal a message is laid out: what is known of it, its attributes, and its body, JSON indented."""
    await people.sqs.create("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    await people("send", "orders.fifo", '{"pizzas":[2]}', "--group", "g", "--attribute", "size=large")
    told = await people.at_terminal("receive", "orders.fifo")
    assert re.search(r"· sent \d+ s ago · received 1 times · group g", told.out)
    assert "size: large" in told.out
    assert '{\n  "pizzas": [\n    2\n  ]\n}\n' in told.out


async def test_peek(people: People) -> None:
    """A peek shows messages in any state, some of them when asked to, and leaves them as they are."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, ["one", "two", "three"])
    await people.sqs.receive(url)
    await people.sqs("SendMessage", QueueUrl=url, MessageBody="four", DelaySeconds=60)

    async def bodies(*arguments: str) -> list[str]:
        return [message["Body"] for message in await people("peek", "orders", *arguments)]

    assert await bodies() == ["one", "two", "three", "four"]
    assert await bodies("--state", "inflight", "--state", "delayed") == ["one", "four"]
    assert await bodies("--contains", "o", "-n", "2") == ["one", "two"]
    assert await people.sqs.counts(url) == (2, 1, 1)
    titles, one, *_ = (await people.at_terminal("peek", "orders")).out.splitlines()
    assert "state" in titles
    assert one.split()[1:3] == ["in", "flight"]


async def test_peek_at_many(people: People) -> None:
    """A peek goes through as many pages as it needs, and a search through the whole queue."""
    url = await people.sqs.create("orders")
    await asyncio.gather(*(people.sqs.fill(url, ["hay"] * 1000) for _ in range(11)))
    await people.sqs.fill(url, ["needle"])
    assert len(await people("peek", "orders", "-n", "1234")) == 1234
    assert [message["Body"] for message in await people("peek", "orders", "--contains", "needle")] == ["needle"]


async def test_tail(people: People) -> None:
    """A tail shows what arrives after it has begun, once each, without receiving it, until Ctrl-C."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, ["before"])
    watching = asyncio.create_task(people.at_terminal("tail", "orders", "--contains", "now", until="now 9"))
    number = 0
    while not watching.done():
        await people.sqs.fill(url, ["no", f"now {number % 10}"])
        number += 1
        await asyncio.sleep(0.05)
    told = await watching
    assert told.status == 130
    assert "waiting for messages in orders, Ctrl-C ends it" in told.out
    shown = re.findall(r"^now (\d)$", told.out, re.MULTILINE)
    assert shown == [str((int(shown[0]) + later) % 10) for later in range(len(shown))]
    assert len(shown) > 1 or shown == ["9"]
    assert ("no\n" in told.out, "before" in told.out, "Traceback" in told.out) == (False, False, False)
    assert await people.sqs.counts(url) == (2 * number + 1, 0, 0)


async def test_tail_in_a_pipe(people: People) -> None:
    """In a pipe each message is a line at once; a queue that is made anew is followed."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, ["before"] * 10)
    process = await people.start("tail", "orders")
    assert process.stdout
    first = asyncio.create_task(process.stdout.readline())
    while not first.done():
        await people.sqs.fill(url, ["again"])
        await asyncio.sleep(0.1)
    assert json.loads(await first)["Body"] == "again"
    await people.sqs("DeleteQueue", QueueUrl=url)
    await people.sqs.create("orders")
    await people.sqs.fill(url, ["anew"])
    while json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["Body"] != "anew":
        pass
    process.kill()
    await process.communicate()
