"""ReceiveMessage over HTTP: what it gives and shows, what it refuses (contract 2.10, 4.5, 4.6)."""

import asyncio
import hashlib
import signal
from typing import Any

import msgpack
import pytest

from questd.messages import LARGE
from questd.pipeline import Pipeline
from tests.client import Sqs, serving
from tests.servers import RedisServer, running


async def test_attributes_come_back_when_asked_for(sqs: Sqs) -> None:
    """Message attributes are returned on request only, with a digest over those returned (contract 4.2, 4.5)."""
    url = await sqs.create()
    attributes = {
        "Help.Me": {"DataType": "String", "StringValue": "Me"},
        "Hello": {"DataType": "String", "StringValue": "There"},
        "General": {"DataType": "String", "StringValue": "Kenobi"},
    }
    sent = await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    assert sent["MD5OfMessageAttributes"] == "4c360f3fdafd970e05fae2f149d997f5"
    [message] = await sqs.receive(url, VisibilityTimeout=0)
    assert "MessageAttributes" not in message
    assert "MD5OfMessageAttributes" not in message
    [message] = await sqs.receive(url, VisibilityTimeout=0, MessageAttributeNames=["Hello", "nope"])
    assert message["MessageAttributes"] == {"Hello": attributes["Hello"]}
    assert message["MD5OfMessageAttributes"] == "a311262e065454b75da111d535b8dacd"
    [message] = await sqs.receive(url, VisibilityTimeout=0, MessageAttributeNames=["Hel.*"])
    assert message["MessageAttributes"].keys() == {"Hello", "Help.Me"}
    [message] = await sqs.receive(url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (
            {"MaxNumberOfMessages": 11},
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            {"MaxNumberOfMessages": 0},
            "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            {"WaitTimeSeconds": 21},
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ),
        (
            {"VisibilityTimeout": 43201},
            "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.",
        ),
    ],
)
async def test_receive_refuses(sqs: Sqs, members: dict[str, Any], text: str) -> None:
    """ReceiveMessage refuses what is out of range with AWS's words (contract 2.10)."""
    url = await sqs.create()
    assert (await sqs.ask("ReceiveMessage", QueueUrl=url, **members)).error == (
        400,
        "InvalidParameterValue",
        "InvalidParameterValueException",
        text,
    )


async def test_receive_refuses_unknown_attribute_names(sqs: Sqs) -> None:
    """A system attribute that there is not is an error; a queue attribute's name is allowed and without effect."""
    url = await sqs.create()
    reply = await sqs.ask("ReceiveMessage", QueueUrl=url, MessageSystemAttributeNames=["Foobar"])
    assert reply.error == (400, "InvalidAttributeName", "InvalidAttributeName", "Unknown Attribute Foobar.")
    assert await sqs.receive(url, AttributeNames=["Policy"]) == []


async def test_receive_from_an_empty_queue_is_an_empty_object(sqs: Sqs) -> None:
    """Nothing to receive is `{}`, not an empty list (contract 1.2.2)."""
    url = await sqs.create()
    assert (await sqs.ask("ReceiveMessage", QueueUrl=url)).body == b"{}"


async def test_a_received_message_is_hidden_for_its_timeout(sqs: Sqs) -> None:
    """The timeout is the request's, else the queue's; then the message is back with a higher count."""
    url = await sqs.create(VisibilityTimeout="50")
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    [first] = await sqs.receive(url, VisibilityTimeout=10)
    assert await sqs.counts(url) == (0, 1, 0)
    await sqs.advance(10)
    [second] = await sqs.receive(url, AttributeNames=["All"])
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    await sqs.advance(49)
    assert await sqs.receive(url) == []
    await sqs.advance(1)
    assert len(await sqs.receive(url)) == 1


async def test_a_body_that_is_no_utf8_is_shown_with_a_digest_that_fits(sqs: Sqs, redis_server: RedisServer) -> None:
    """What a Redis client stored need be no text: it is shown with replacement characters, and SDKs accept its MD5."""
    with redis_server.client() as client:
        client.fcall("sendMessage", 1, "raw", b"\xff")
    [message] = await sqs.receive("raw")
    assert message["Body"] == "\ufffd"
    assert message["MD5OfBody"] == hashlib.md5("\ufffd".encode()).hexdigest()


@pytest.mark.parametrize(
    ("body", "digest"),
    [(b"x" * LARGE, "0" * 32), (b"\xff" * LARGE, hashlib.md5(("\ufffd" * LARGE).encode()).hexdigest())],
)
async def test_a_kept_digest_is_shown(sqs: Sqs, redis_server: RedisServer, body: bytes, digest: str) -> None:
    """The digest in the head of a large body is taken for right, but for one that is no text."""
    await sqs.create()
    head = msgpack.packb({"MD5OfBody": "0" * 32}, use_bin_type=False)
    with redis_server.client() as client:
        version = client.hget("quest:{q}", "version")
        client.fcall("quest_send", 1, "quest:{q}", version, bytes(16), "", head, body, "", "")
    [message] = await sqs.receive("q")
    assert (message["MD5OfBody"], message["Body"]) == (digest, body.decode(errors="replace"))


@pytest.mark.parametrize("head", [b"\xc1", b"\x93\x01\x02", b"\x92\x01\x02", b"\x81\x01\x02"])
@pytest.mark.parametrize("length", [1, LARGE])
@pytest.mark.parametrize("names", [[], ["All"]])
async def test_a_head_that_is_none(
    sqs: Sqs, redis_server: RedisServer, head: bytes, length: int, names: list[str]
) -> None:
    """A message that a Redis client sent with a head that is no map is received as one without a head."""
    await sqs.create()
    with redis_server.client() as client:
        version = client.hget("quest:{q}", "version")
        client.fcall("quest_send", 1, "quest:{q}", version, bytes(16), "", head, "x" * length, "", "")
    [message] = await sqs.receive("q", AttributeNames=names)
    assert message["MD5OfBody"] == hashlib.md5(b"x" * length).hexdigest()


async def test_control_characters_of_a_redis_client(sqs: Sqs, redis_server: RedisServer) -> None:
    """A character that SQS has not is shown as U+FFFD in both protocols, with a digest that fits."""
    await sqs.create()
    with redis_server.client() as client:
        client.execute_command("FCALL", "sendMessage", 1, "q", "a\x01\tb")
    digest = hashlib.md5("a\ufffd\tb".encode()).hexdigest()
    [message] = await sqs.receive("q", VisibilityTimeout=0)
    assert (message["Body"], message["MD5OfBody"]) == ("a\ufffd\tb", digest)
    async with sqs.session.get(f"{sqs.url}/000000000000/q?Action=ReceiveMessage") as response:
        text = await response.text()
    assert f"<MD5OfBody>{digest}</MD5OfBody><Body>a\ufffd\tb</Body>" in text


async def test_many_concurrent_messages_are_each_received_once(sqs: Sqs) -> None:
    """Concurrent senders and receivers lose nothing and share nothing."""
    url = await sqs.create()
    await asyncio.gather(*(sqs("SendMessage", QueueUrl=url, MessageBody=str(i)) for i in range(200)))
    batches = await asyncio.gather(*(sqs.receive(url, MaxNumberOfMessages=10) for _ in range(20)))
    assert sorted(int(message["Body"]) for batch in batches for message in batch) == list(range(200))


async def test_a_long_poll_of_a_full_queue_gets_nothing(redis_server: RedisServer) -> None:
    """With as many messages in flight as may be, a short poll is refused and a long one gets nothing (contract 2.10)."""
    async with serving(redis_server.url, max_in_flight=1) as sqs:
        url = await sqs.create()
        for body in "ab":
            await sqs("SendMessage", QueueUrl=url, MessageBody=body)
        await sqs.receive(url)
        assert (await sqs.ask("ReceiveMessage", QueueUrl=url)).error[1] == "OverLimit"
        reply = await sqs.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=1)
        assert (reply.status, reply.json) == (200, {})


async def test_a_receive_stops_at_the_limit_in_flight(redis_server: RedisServer) -> None:
    """A receive of ten gives no more than may be in flight, and counts what has timed out as visible."""
    async with serving(redis_server.url, max_in_flight=12) as sqs:
        url = await sqs.create()
        for _ in range(2):
            entries = [{"Id": str(i), "MessageBody": "x"} for i in range(10)]
            await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
        taken = [len(await sqs.receive(url, MaxNumberOfMessages=10, VisibilityTimeout=30)) for _ in range(2)]
        assert taken == [10, 2]
        await sqs.advance(30)
        assert len(await sqs.receive(url, MaxNumberOfMessages=10)) == 10


async def test_a_receive_that_failed_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receive answered with 503 hands nothing out when a frozen Redis thaws, though others waited longer than it."""
    monkeypatch.setitem(Pipeline.__init__.__kwdefaults__ or {}, "deadline", 1.0)
    with running() as server:
        async with serving(server.url) as sqs:
            url = await sqs.create()
            await sqs.fill(url, ["x"])
            server.process.send_signal(signal.SIGSTOP)
            try:
                first = asyncio.create_task(sqs.ask("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"]))
                await asyncio.sleep(0.5)
                assert (await sqs.ask("ReceiveMessage", QueueUrl=url)).status == 503
                assert (await first).status == 503
            finally:
                server.process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(5):
                while (reply := await sqs.ask("ReceiveMessage", QueueUrl=url, AttributeNames=["All"])).status != 200:
                    await asyncio.sleep(0.01)
            [message] = reply.json["Messages"]
            assert message["Attributes"]["ApproximateReceiveCount"] == "1"
