"""What comes in over HTTP and is no right request: AWS's error each time, and the server goes on (contract 1.2.5)."""

from typing import Any

import pytest

from tests.client import JSON, Sqs, serving
from tests.servers import RedisServer

SEND = {**JSON, "X-Amz-Target": "AmazonSQS.SendMessage"}
MALFORMED = (400, "MalformedInput", "SerializationException")


@pytest.mark.parametrize(
    "target",
    ["AmazonSQS.Bogus", "AmazonSQS.", "", "SendMessage", "DynamoDB_20120810.SendMessage", "AmazonSQS.sendmessage"],
)
async def test_unknown_operations(sqs: Sqs, target: str) -> None:
    """An action that there is not is UnknownOperationException; names are case-sensitive."""
    reply = await sqs.post(b"{}", {**JSON, "X-Amz-Target": target})
    assert reply.error[:3] == (400, "InvalidAction", "UnknownOperationException")


async def test_json_without_a_target(sqs: Sqs) -> None:
    """A JSON request that names no action is UnknownOperationException too."""
    assert (await sqs.post(b"{}", JSON)).error[:3] == (400, "InvalidAction", "UnknownOperationException")


@pytest.mark.parametrize("path", ["/", "/000000000000/q", "/favicon.ico", "/%7B%7D?x=1"])
async def test_what_is_no_sqs_request(sqs: Sqs, path: str) -> None:
    """A GET without an action is a 404 in XML (contract 1.3.6)."""
    async with sqs.session.get(sqs.url + path) as response:
        assert response.status == 404
        assert b"<UnknownOperationException" in await response.read()


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b'"x"', b"1", b"null", b"\xff", b"{}{}", b'{"QueueUrl":}', b'{"MessageBody":"\\ud800"}',
        b"[" * 100_000, b'{"a":' * 10_000,
    ],
)  # fmt: skip
async def test_bodies_that_are_no_json_object(sqs: Sqs, body: bytes) -> None:
    """Broken JSON, or JSON that is no object, is SerializationException with the code MalformedInput."""
    assert (await sqs.post(body, SEND)).error[:3] == MALFORMED


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"MessageBody": 5}, "NUMBER_VALUE can not be converted to a String"),
        ({"MessageBody": True}, "TRUE_VALUE can not be converted to a String"),
        ({"MessageBody": {}}, "Start of structure or map found where not expected."),
        ({"MessageBody": []}, "Start of list found where not expected"),
        ({"MessageBody": "x", "DelaySeconds": "abc"}, "STRING_VALUE can not be converted to an Integer"),
        ({"MessageBody": "x", "DelaySeconds": False}, "FALSE_VALUE can not be converted to an Integer"),
        ({"MessageBody": "x", "DelaySeconds": []}, "Start of list found where not expected"),
        ({"MessageBody": "x", "MessageAttributes": []}, "Start of list found where not expected"),
        (
            {"MessageBody": "x", "MessageAttributes": {"a": {"DataType": 1}}},
            "NUMBER_VALUE can not be converted to a String",
        ),
        ({"QueueUrl": 5, "MessageBody": "x"}, "NUMBER_VALUE can not be converted to a String"),
    ],
)  # fmt: skip
async def test_values_of_another_type(sqs: Sqs, members: dict[str, Any], text: str) -> None:
    """A value of another type is SerializationException, in the words of AWS's framework."""
    url = await sqs.create()
    reply = await sqs.ask("SendMessage", **{"QueueUrl": url} | members)
    assert reply.error == (*MALFORMED, text)


async def test_a_string_where_a_list_belongs(sqs: Sqs) -> None:
    """A string for a list has words of its own."""
    url = await sqs.create()
    reply = await sqs.ask("GetQueueAttributes", QueueUrl=url, AttributeNames="All")
    assert reply.error == (*MALFORMED, "Unrecognized collection type class java.lang.String")


async def test_what_is_let_pass(sqs: Sqs) -> None:
    """An empty body is `{}`, null is absent, numbers may be text, unknown members and a charset are ignored."""
    url = await sqs.create()
    assert (await sqs.post(b"", {"X-Amz-Target": "AmazonSQS.ListQueues"})).json == {"QueueUrls": [url]}
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds="0", MessageAttributes=None, Unknown=1)
    headers = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0; charset=utf-8"}
    reply = await sqs.post(b'{"QueueUrl":"q","MaxNumberOfMessages":"1"}', headers, "/000000000000/q")
    assert len(reply.json["Messages"]) == 1


async def test_every_answer_has_a_request_id(sqs: Sqs) -> None:
    """x-amzn-RequestId is another UUID each time, on errors too."""
    replies = [await sqs.ask("ListQueues"), await sqs.ask("ListQueues"), await sqs.ask("Bogus")]
    ids = {reply.headers["x-amzn-RequestId"] for reply in replies}
    assert len(ids) == 3
    assert all(len(identifier) == 36 for identifier in ids)


async def test_a_body_over_8_mib(sqs: Sqs) -> None:
    """A body over the server's limit is a 413, and the server goes on."""
    reply = await sqs.post(b"x" * (8 * 2**20 + 1), SEND)
    assert reply.error[:3] == (413, "RequestEntityTooLarge", "RequestEntityTooLargeException")
    assert (await sqs.ask("ListQueues")).status == 200


async def test_health(sqs: Sqs) -> None:
    """/health/live says that the process runs, /health/ready that Redis does its part."""
    for path, status in (("/health/live", 200), ("/health/ready", 200), ("/health/nope", 404)):
        async with sqs.session.get(sqs.url + path) as response:
            assert response.status == status


async def test_the_clock_is_for_tests_only(sqs: Sqs, redis_server: RedisServer) -> None:
    """POST /_questd/clock moves the clock in test mode, reads it without a body, and is unknown otherwise."""
    async with sqs.session.post(f"{sqs.url}/_questd/clock", data=b"") as response:
        before = (await response.json())["now_ms"]
    async with sqs.session.post(f"{sqs.url}/_questd/clock", json={"advance": 100}) as response:
        assert (await response.json())["now_ms"] - before >= 100_000
    async with sqs.session.post(f"{sqs.url}/_questd/clock", json={"set": 1}) as response:
        assert response.status == 400
    async with (
        serving(redis_server.url, test_mode=False) as real,
        real.session.post(f"{real.url}/_questd/clock") as response,
    ):
        assert response.status == 404


async def test_the_clock_is_put_back(sqs: Sqs) -> None:
    """A clock that was moved is put back to the time of day, and from there moved again when asked to."""
    times = []
    for move in ({}, {"advance": 100}, {"reset": True}, {"reset": True, "advance": 50}):
        async with sqs.session.post(f"{sqs.url}/_questd/clock", json=move) as response:
            times.append((await response.json())["now_ms"] // 1000)
    assert [pytest.approx(time - times[0], abs=5) for time in times] == [0, 100, 0, 50]


@pytest.mark.parametrize(
    ("action", "body", "headers"),
    [
        ("SendMessage", b'{"QueueUrl":"q","MessageBody":"x"}', {"X-Amzn-Trace-Id": "Root=\udcff"}),
        ("GetQueueUrl", b'{"QueueName":"q"}', {"Host": "\udcff"}),
        ("GetQueueUrl", b'{"QueueName":"q"}', {"Host": 'evil"/../x'}),
        ("CreateQueue", b'{"QueueName":"p","Attributes":{"DelaySeconds":"' + b"1" * 5000 + b'"}}', {}),
        ("SendMessage", b'{"QueueUrl":"q","MessageBody":"x","DelaySeconds":1e400}', {}),
        ("SendMessage", b'{"QueueUrl":"q","MessageBody":"x","DelaySeconds":" 0_1 "}', {}),
        ("SendMessage", b'{"QueueUrl":"q","MessageBody":"x","MessageAttributes":{"a":null}}', {}),
        ("ReceiveMessage", b'{"QueueUrl":"q","MessageAttributeNames":[null]}', {}),
        ("ListQueues", b'{"QueueNamePrefix":"z","NextToken":"YQ=="}', {}),
        ("ListQueues", b"broken", {"Content-Encoding": "gzip"}),
        ("CreateQueue", b'{"QueueName":"p","tags":{"":"x"}}', {}),
        ("CreateQueue", b'{"QueueName":"p","Attributes":{"KmsMasterKeyId":"\\u0000"}}', {}),
    ],
)
async def test_odd_input_is_the_clients_mistake(sqs: Sqs, action: str, body: bytes, headers: dict[str, str]) -> None:
    """Nothing that a client sends is a 500."""
    await sqs.create()
    reply = await sqs.post(body, {**JSON, "X-Amz-Target": f"AmazonSQS.{action}", **headers})
    assert reply.status in (200, 400)


@pytest.mark.parametrize("advance", ["NaN", "1e308", "1e18", "-1", '"x"'])
async def test_the_clock_takes_seconds_only(sqs: Sqs, advance: str) -> None:
    """A clock moves forward, by a number of seconds that makes sense."""
    async with sqs.session.post(f"{sqs.url}/_questd/clock", data=f'{{"advance":{advance}}}') as response:
        assert response.status == 400
