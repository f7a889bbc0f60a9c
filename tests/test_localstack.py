"""What users of LocalStack know: peeking at messages, its health, its forms of a queue's URL."""

import asyncio
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yarl
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from questd import __version__
from questd.localstack import as_json
from tests.boto import client_of
from tests.client import Sqs, serving
from tests.servers import RedisServer, running

PEEK = "/_aws/sqs/messages"
JSON = {"Accept": "application/json"}


async def get(sqs: Sqs, path: str, headers: Any = None, **parameters: Any) -> tuple[int, str]:
    """Return the status and the text at a path."""
    async with sqs.session.get(sqs.url + path, params=parameters, headers=headers) as response:
        return response.status, await response.text()


def messages_of(document: str) -> list[dict[str, str]]:
    """Return the messages in an answer in XML: their texts, and their system attributes by name."""
    found = []
    for message in ET.fromstring(document.replace("xmlns=", "x=")).iter("Message"):
        texts = {child.tag: child.text or "" for child in message if len(child) == 0}
        found.append(texts | {each[0].text or "": each[1].text or "" for each in message.findall("Attribute")})
    return found


async def test_messages_in_xml(sqs: Sqs) -> None:
    """A GET shows the visible messages as ReceiveMessage would, with all attributes, however often it is asked."""
    url = await sqs.create()
    attributes = {"a": {"DataType": "String", "StringValue": "b"}}
    sent = await sqs("SendMessage", QueueUrl=url, MessageBody="hello", MessageAttributes=attributes)
    await sqs("SendMessage", QueueUrl=url, MessageBody="world")
    for _ in range(2):
        status, text = await get(sqs, PEEK, QueueUrl=url)
        assert status == 200
        first, second = messages_of(text)
    assert (first["Body"], second["Body"]) == ("hello", "world")
    assert (first["MessageId"], first["MD5OfMessageAttributes"]) == (sent["MessageId"], sent["MD5OfMessageAttributes"])
    assert (first["ApproximateReceiveCount"], first["ApproximateFirstReceiveTimestamp"]) == ("0", "0")
    assert "<MessageAttribute><Name>a</Name>" in text
    assert "<StringValue>b</StringValue>" in text
    async with sqs.session.post(sqs.url + PEEK, data={"Action": "ReceiveMessage", "QueueUrl": url}) as response:
        assert messages_of(await response.text()) == [first, second]
    assert await sqs.counts(url) == (2, 0, 0)
    [received] = await sqs.receive(url, AttributeNames=["All"])
    assert received["Attributes"]["ApproximateReceiveCount"] == "1"


async def test_invisible_and_delayed_messages(sqs: Sqs) -> None:
    """What is in flight or delayed is shown when it is asked for, and then each says so."""
    url = await sqs.create()
    await sqs.fill(url, "ab")
    await sqs.receive(url)
    await sqs("SendMessage", QueueUrl=url, MessageBody="c", DelaySeconds=9)

    async def shown(**parameters: str) -> list[tuple[str | None, ...]]:
        found = messages_of((await get(sqs, PEEK, QueueUrl=url, **parameters))[1])
        return [(message["Body"], message.get("IsVisible"), message.get("IsDelayed")) for message in found]

    assert await shown() == await shown(ShowInvisible="no", ShowDelayed="") == [("b", None, None)]
    assert await shown(ShowInvisible="true") == [("a", "false", None), ("b", "true", None)]
    assert await shown(ShowDelayed="1") == [("b", None, "false"), ("c", None, "true")]
    both = [("a", "false", "false"), ("b", "true", "false"), ("c", "true", "true")]
    assert await shown(ShowInvisible="True", ShowDelayed="TRUE") == both


async def test_messages_in_json(sqs: Sqs) -> None:
    """`Accept: application/json` gives the elements of the XML as LocalStack does: null for none, a list from two on."""
    url = await sqs.create()

    async def result() -> Any:
        return json.loads((await get(sqs, PEEK, JSON, QueueUrl=url))[1])["ReceiveMessageResponse"]

    found = await result()
    assert found["ReceiveMessageResult"] is None
    assert found["ResponseMetadata"]["RequestId"]
    await sqs("SendMessage", QueueUrl=url, MessageBody="a <&")
    message = (await result())["ReceiveMessageResult"]["Message"]
    assert message["Body"] == "a <&"
    assert {"Name": "ApproximateReceiveCount", "Value": "0"} in message["Attribute"]
    await sqs("SendMessage", QueueUrl=url, MessageBody="b")
    assert [each["Body"] for each in (await result())["ReceiveMessageResult"]["Message"]] == ["a <&", "b"]


def test_the_json_of_a_document() -> None:
    """Elements become members, repeated ones a list, empty ones null; namespaces are left out."""
    assert json.loads(as_json(b'<r xmlns="n"><a>1</a><a><b/></a><c> </c></r>')) == {
        "r": {"a": ["1", {"b": None}], "c": " "}
    }


async def test_boto3(sqs: Sqs) -> None:
    """boto3 peeks with the path in its endpoint, and everything is there unasked."""
    url = await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageGroupId="g")
    client = client_of(sqs.url + PEEK, "test", "test")  # as LocalStack's users write it
    for _ in range(2):
        [message] = (await asyncio.to_thread(client.receive_message, QueueUrl=url))["Messages"]
        assert (message["Body"], message["Attributes"]["MessageGroupId"]) == ("x", "g")
        assert message["Attributes"]["ApproximateReceiveCount"] == "0"
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(client.purge_queue, QueueUrl=url)
    assert caught.value.response["Error"]["Code"] == "InvalidAction"
    assert await sqs.counts(url) == (1, 0, 0)


async def test_more_than_one_receive_gives(sqs: Sqs) -> None:
    """All messages are shown, up to a thousand."""
    url = await sqs.create()
    await sqs.fill(url, map(str, range(1010)))
    found = [message["Body"] for message in messages_of((await get(sqs, PEEK, QueueUrl=url))[1])]
    assert found == [str(number) for number in range(1000)]


@pytest.mark.parametrize("path", [PEEK, f"{PEEK}/", f"{PEEK}/us-east-1/000000000000/none", f"{PEEK}/q"])
async def test_no_queue(sqs: Sqs, path: str) -> None:
    """Without a queue, or with one that is not there, the answer is AWS's error."""
    await sqs.create("messages")
    await sqs.create("q")
    status, text = await get(sqs, path)
    assert (status, "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in text) == (400, True)


async def test_another_action(sqs: Sqs) -> None:
    """Nothing else can be asked for there."""
    url = await sqs.create()
    status, text = await get(sqs, PEEK, QueueUrl=url, Action="PurgeQueue")
    assert (status, "<Code>InvalidAction</Code>" in text) == (400, True)


@pytest.mark.parametrize(
    "form",
    [
        "http://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/q",
        "http://localhost:4566/000000000000/q",
        "http://localhost:4566/queue/us-east-1/000000000000/q",
        "http://us-east-1.queue.localhost.localstack.cloud:4566/000000000000/q",
    ],
)
async def test_forms_of_a_url(sqs: Sqs, form: str) -> None:
    """Every form that LocalStack gives a queue's URL names the queue, as a member and as the path of a request."""
    await sqs.create()
    await sqs("SendMessage", QueueUrl=form, MessageBody="x")
    assert len(messages_of((await get(sqs, PEEK, QueueUrl=form))[1])) == 1
    status, text = await get(sqs, yarl.URL(form).path, Action="ReceiveMessage")
    assert (status, len(messages_of(text))) == (200, 1)


async def test_regions_and_accounts(redis_server: RedisServer) -> None:
    """Where regions are kept apart, the path says which is meant, and so does the form of a URL that names it."""
    async with serving(redis_server.url, multi_region=True) as sqs:
        there = {"Host": "sqs.eu-west-1.localhost"}
        async with sqs.session.get(f"{sqs.url}/?Action=CreateQueue&QueueName=q", headers=there) as response:
            assert response.status == 200
        form = "http://localhost:4566/queue/eu-west-1/000000000000/q"
        await sqs("SendMessage", QueueUrl=form, MessageBody="x")
        for path in (f"{PEEK}/eu-west-1/000000000000/q", f"{PEEK}?QueueUrl={form}"):
            assert len(messages_of((await get(sqs, path))[1])) == 1
        for path in (f"{PEEK}/us-east-1/000000000000/q", f"{PEEK}/eu-west-1/111122223333/q"):
            assert (await get(sqs, path))[0] == 400


async def test_keys(redis_server: RedisServer, tmp_path: Path) -> None:
    """Where keys are configured, who peeks must have signed it with a key that may receive."""
    file = tmp_path / "keys.toml"
    file.write_text('[OWNER]\nsecret = "secret of the owner"\n[SENDER]\nsecret = "secret of the sender"\n')
    file.write_text(file.read_text() + 'allow = ["*:SendMessage"]\n')
    file.chmod(0o600)
    async with serving(redis_server.url, keys_file=file) as sqs:

        def client(key: str, path: str = "") -> Any:
            secret = f"secret of the {key.lower()}"
            return client_of(sqs.url + path, key, secret, config=Config(retries={"max_attempts": 1}))

        url = (await asyncio.to_thread(client("OWNER").create_queue, QueueName="q"))["QueueUrl"]
        await asyncio.to_thread(client("SENDER").send_message, QueueUrl=url, MessageBody="x")
        peeked = await asyncio.to_thread(client("OWNER", PEEK).receive_message, QueueUrl=url)
        assert len(peeked["Messages"]) == 1
        with pytest.raises(ClientError, match="not authorized to perform: sqs:receivemessage"):
            await asyncio.to_thread(client("SENDER", PEEK).receive_message, QueueUrl=url)
        for path in (f"{PEEK}?QueueUrl={url}", f"{PEEK}/us-east-1/000000000000/q"):
            status, text = await get(sqs, path)
            assert (status, "<Code>AccessDenied</Code>" in text) == (403, True)
        request = AWSRequest("GET", f"{sqs.url}{PEEK}/us-east-1/000000000000/q")
        SigV4Auth(Credentials("OWNER", "secret of the owner"), "sqs", "us-east-1").add_auth(request)
        assert len(messages_of((await get(sqs, f"{PEEK}/us-east-1/000000000000/q", dict(request.headers)))[1])) == 1
        assert (await get(sqs, "/_localstack/health"))[0] == 200


async def test_health(sqs: Sqs) -> None:
    """Scripts that wait for LocalStack find their service running, by GET and by HEAD."""
    status, text = await get(sqs, "/_localstack/health")
    assert status == 200
    assert json.loads(text) == {"services": {"sqs": "running"}, "edition": "community", "version": __version__}
    async with sqs.session.head(f"{sqs.url}/_localstack/health") as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_health_without_redis() -> None:
    """While Redis does not answer, the service is not running."""
    with running() as redis_server:
        async with serving(redis_server.url) as sqs:
            redis_server.stop()
            status, text = await get(sqs, "/_localstack/health")
            assert (status, json.loads(text)["services"]) == (503, {"sqs": "error"})
