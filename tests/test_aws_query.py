"""The Query protocol over HTTP: forms and query strings in, XML out (contract 1.3)."""

import re
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest

from questd import aws_query, errors
from questd.aws_query import NAMESPACE
from questd.request import Request
from tests.client import Sqs

ABSENT = "The specified queue does not exist for this wsdl version."


class Document:
    """An answer in XML: its status, its root, and the texts at a path."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.root = ET.fromstring(body)  # it is ours

    def texts(self, path: str) -> list[str]:
        """Return the text of every element at a path without namespaces."""
        return [
            one.text or "" for one in self.root.findall("/".join(f"{{{NAMESPACE}}}{part}" for part in path.split("/")))
        ]

    def pairs(self, path: str, key: str = "Name") -> dict[str, str]:
        """Return the map whose elements stand at a path."""
        return dict(zip(self.texts(f"{path}/{key}"), self.texts(f"{path}/Value"), strict=True))

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and text of an error."""
        return self.status, self.texts("Error/Code")[0], self.texts("Error/Message")[0]


async def form(sqs: Sqs, action: str, path: str = "/", **parameters: str) -> Document:
    """Post a form; `__` in a name is a dot."""
    given = {"Action": action, "Version": "2012-11-05"} | parameters
    data = urlencode({name.replace("__", "."): value for name, value in given.items()})
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    async with sqs.session.post(sqs.url + path, data=data.encode(), headers=headers) as response:
        return Document(response.status, response.headers, await response.read())


async def get(sqs: Sqs, query: str, path: str = "/") -> Document:
    """Get a query string as it is."""
    async with sqs.session.get(f"{sqs.url}{path}?{query}") as response:
        return Document(response.status, response.headers, await response.read())


async def test_the_bytes_of_a_success(sqs: Sqs) -> None:
    """A result is in AWS's envelope, byte for byte; the request id is in the header and in the body (1.3.3)."""
    reply = await form(sqs, "CreateQueue", QueueName="q")
    request_id = reply.headers["x-amzn-RequestId"]
    assert reply.headers["Content-Type"] == "text/xml"
    assert reply.body.decode() == (
        f'<?xml version="1.0"?><CreateQueueResponse xmlns="{NAMESPACE}"><CreateQueueResult>'
        f"<QueueUrl>{sqs.url}/000000000000/q</QueueUrl></CreateQueueResult>"
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></CreateQueueResponse>"
    )


async def test_the_bytes_of_an_error(sqs: Sqs) -> None:
    """An error has the older code, an empty Detail, and the text of this protocol (1.3.5)."""
    reply = await form(sqs, "GetQueueUrl", QueueName="nothing")
    assert reply.status == 400
    assert reply.body.decode() == (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type>'
        f"<Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>{ABSENT}</Message><Detail/></Error>"
        f"<RequestId>{reply.headers['x-amzn-RequestId']}</RequestId></ErrorResponse>"
    )


async def test_an_action_without_output(sqs: Sqs) -> None:
    """It has no Result element; one with nothing to say has an empty one."""
    url = await sqs.create()
    reply = await form(sqs, "PurgeQueue", QueueUrl=url)
    assert re.search(b"<PurgeQueueResponse xmlns=[^>]*><ResponseMetadata>", reply.body)
    reply = await form(sqs, "ReceiveMessage", QueueUrl=url)
    assert b"<ReceiveMessageResult/>" in reply.body


async def test_a_message(sqs: Sqs) -> None:
    """A message with attributes goes in by a form and comes out in XML, binary values in base64."""
    url = await sqs.create()
    attributes = {
        "MessageAttribute__1__Name": "n",
        "MessageAttribute__1__Value__DataType": "Number",
        "MessageAttribute__1__Value__StringValue": "1",
        "MessageAttributes__2__Name": "b",
        "MessageAttributes__2__Value__DataType": "Binary",
        "MessageAttributes__2__Value__BinaryValue": "AAH/",
        "MessageSystemAttribute__1__Name": "AWSTraceHeader",
        "MessageSystemAttribute__1__Value__DataType": "String",
        "MessageSystemAttribute__1__Value__StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793",
    }
    sent = await form(sqs, "SendMessage", QueueUrl=url, MessageBody="ä", **attributes)
    names = {"AttributeName__1": "All", "MessageAttributeName__1": "All", "MaxNumberOfMessages": "10"}
    reply = await form(sqs, "ReceiveMessage", QueueUrl=url, **names)
    message = "ReceiveMessageResult/Message"
    for name in ("MessageId", "MD5OfMessageAttributes"):
        assert reply.texts(f"{message}/{name}") == sent.texts(f"SendMessageResult/{name}")
    assert reply.texts(f"{message}/Body") == ["ä"]
    assert reply.texts(f"{message}/MD5OfBody") == sent.texts("SendMessageResult/MD5OfMessageBody")
    assert reply.pairs(f"{message}/Attribute")["ApproximateReceiveCount"] == "1"
    assert reply.pairs(f"{message}/Attribute")["AWSTraceHeader"].startswith("Root=")
    assert sorted(reply.texts(f"{message}/MessageAttribute/Name")) == ["b", "n"]
    assert reply.texts(f"{message}/MessageAttribute/Value/BinaryValue") == ["AAH/"]
    assert reply.texts(f"{message}/MessageAttribute/Value/StringValue") == ["1"]


@pytest.mark.parametrize("body", ["a\r\nb\rc", '<a b="c">&amp;&quot;</a>', "\t \n", "😀\ud7ff\ue000\ufffd"])
async def test_bodies_survive(sqs: Sqs, body: str) -> None:
    """What XML would change is escaped, so the parsed body is the one that was sent (1.3.4)."""
    url = await sqs.create()
    await form(sqs, "SendMessage", QueueUrl=url, MessageBody=body)
    assert (await form(sqs, "ReceiveMessage", QueueUrl=url)).texts("ReceiveMessageResult/Message/Body") == [body]


async def test_batches(sqs: Sqs) -> None:
    """Entries are numbered structures with attributes of their own; the answer tells done and failed apart."""
    url = await sqs.create()
    entry = "SendMessageBatchRequestEntry"
    reply = await form(
        sqs,
        "SendMessageBatch",
        QueueUrl=url,
        **{f"{entry}__1__Id": "a", f"{entry}__1__MessageBody": "1", f"{entry}__1__DelaySeconds": "0"},
        **{f"{entry}__2__Id": "b", f"{entry}__2__MessageBody": "\x01"},
        **{f"{entry}__10__Id": "c", f"{entry}__10__MessageBody": "3"},
        **{
            f"{entry}__10__MessageAttribute__1__Name": "k",
            f"{entry}__10__MessageAttribute__1__Value__DataType": "String",
        },
        **{f"{entry}__10__MessageAttribute__1__Value__StringValue": "v"},
    )
    assert reply.texts("SendMessageBatchResult/SendMessageBatchResultEntry/Id") == ["a", "c"]
    failed = "SendMessageBatchResult/BatchResultErrorEntry"
    assert (reply.texts(f"{failed}/Id"), reply.texts(f"{failed}/SenderFault")) == (["b"], ["true"])
    assert reply.texts(f"{failed}/Code") == ["InvalidMessageContents"]
    messages = await sqs.receive(url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
    assert [message["Body"] for message in messages] == ["1", "3"]
    assert messages[1]["MessageAttributes"] == {"k": {"DataType": "String", "StringValue": "v"}}
    handles = [message["ReceiptHandle"] for message in messages]
    entry = "ChangeMessageVisibilityBatchRequestEntry"
    change = {f"{entry}__1__Id": "x", f"{entry}__1__ReceiptHandle": handles[0], f"{entry}__1__VisibilityTimeout": "9"}
    reply = await form(sqs, "ChangeMessageVisibilityBatch", QueueUrl=url, **change)
    done = "ChangeMessageVisibilityBatchResult/ChangeMessageVisibilityBatchResultEntry/Id"
    assert reply.texts(done) == ["x"]
    entry = "DeleteMessageBatchRequestEntry"
    gone = {
        f"{entry}__{i}__{name}": value
        for i in (0, 1)
        for name, value in (("Id", str(i)), ("ReceiptHandle", handles[i]))
    }
    reply = await form(sqs, "DeleteMessageBatch", QueueUrl=url, **gone)
    assert reply.texts("DeleteMessageBatchResult/DeleteMessageBatchResultEntry/Id") == ["0", "1"]
    assert await sqs.counts(url) == (0, 0, 0)


async def test_an_empty_batch(sqs: Sqs) -> None:
    """A batch without entries, or with the bare name of them, is EmptyBatchRequest."""
    url = await sqs.create()
    for given in ({}, {"Entries": ""}):
        reply = await form(sqs, "DeleteMessageBatch", QueueUrl=url, **given)
        assert reply.error[1] == "AWS.SimpleQueueService.EmptyBatchRequest"


@pytest.mark.parametrize(("tag", "attribute"), [("Tag", "Attribute"), ("Tags", "Attributes")])
async def test_maps(sqs: Sqs, tag: str, attribute: str) -> None:
    """Attributes and tags are numbered pairs, under the name of an element or of the member (1.3.2)."""
    pairs = {f"{attribute}__1__Name": "DelaySeconds", f"{attribute}__1__Value": "5"}
    tags = {f"{tag}__1__Key": "team", f"{tag}__1__Value": "a", f"{tag}__2__Key": "empty", f"{tag}__2__Value": ""}
    reply = await form(sqs, "CreateQueue", QueueName="q", **pairs, **tags)
    [url] = reply.texts("CreateQueueResult/QueueUrl")
    reply = await form(sqs, "GetQueueAttributes", QueueUrl=url, AttributeName__1="DelaySeconds")
    assert reply.pairs("GetQueueAttributesResult/Attribute") == {"DelaySeconds": "5"}
    reply = await form(sqs, "ListQueueTags", QueueUrl=url)
    assert reply.pairs("ListQueueTagsResult/Tag", "Key") == {"team": "a", "empty": ""}
    await form(sqs, "UntagQueue", QueueUrl=url, TagKey__1="team")
    await form(sqs, "SetQueueAttributes", QueueUrl=url, Attribute__Name="DelaySeconds", Attribute__Value="6")
    reply = await form(sqs, "GetQueueAttributes", QueueUrl=url, AttributeName="DelaySeconds")
    assert reply.pairs("GetQueueAttributesResult/Attribute") == {"DelaySeconds": "6"}


async def test_lists(sqs: Sqs) -> None:
    """Lists in and out: permissions by account and action, queues by URL."""
    url = await sqs.create()
    lists = {"AWSAccountId__1": "444455556666", "ActionName__1": "SendMessage", "ActionName__2": "ReceiveMessage"}
    assert (await form(sqs, "AddPermission", QueueUrl=url, Label="L", **lists)).status == 200
    policy = await sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy"])
    assert '"Action":["SQS:SendMessage","SQS:ReceiveMessage"]' in policy["Attributes"]["Policy"]
    await sqs.create("r")
    reply = await form(sqs, "ListQueues", MaxResults="1")
    assert reply.texts("ListQueuesResult/QueueUrl") == [url]
    [token] = reply.texts("ListQueuesResult/NextToken")
    assert len((await form(sqs, "ListQueues", MaxResults="1", NextToken=token)).texts("ListQueuesResult/QueueUrl")) == 1


async def test_get(sqs: Sqs) -> None:
    """Every action works by GET; parameters of a signature are no members (1.3.1)."""
    url = await sqs.create()
    path = "/000000000000/q"
    signature = (
        "AWSAccessKeyId=x&Signature=y&SignatureVersion=2&Timestamp=z&Expires=1&X-Amz-Algorithm=a&X-Amz-Signature=b"
    )
    reply = await get(sqs, f"Action=SendMessage&MessageBody=hello+w%C3%B6rld&{signature}", path)
    assert reply.status == 200
    reply = await get(sqs, "Action=ReceiveMessage&VisibilityTimeout=0", path)
    assert reply.texts("ReceiveMessageResult/Message/Body") == ["hello wörld"]
    await get(sqs, f"Action=DeleteQueue&{urlencode({'QueueUrl': url})}")
    assert (await get(sqs, "Action=ReceiveMessage", path)).error == (
        400,
        "AWS.SimpleQueueService.NonExistentQueue",
        ABSENT,
    )


async def test_a_form_in_plain_utf_8(sqs: Sqs) -> None:
    """A body that is not percent-encoded, as curl sends it, is UTF-8."""
    await sqs.create()
    body = "Action=SendMessage&MessageBody=wörld 🍕".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with sqs.session.post(f"{sqs.url}/000000000000/q", data=body, headers=headers) as response:
        assert response.status == 200
    assert [message["Body"] for message in await sqs.receive("q")] == ["wörld 🍕"]


async def test_the_path_of_a_queue(sqs: Sqs) -> None:
    """The path implies the QueueUrl, which beats it when given; some actions are not there (1.3.1, 1.3.6)."""
    await sqs.create("a")
    b = await sqs.create("b")
    await form(sqs, "SendMessage", "/000000000000/a", MessageBody="a")
    await form(sqs, "SendMessage", "/000000000000/a", MessageBody="b", QueueUrl=b)
    assert [message["Body"] for message in await sqs.receive(b)] == ["b"]
    reply = await form(sqs, "GetQueueUrl", "/000000000000/a", QueueName="b")
    assert reply.texts("GetQueueUrlResult/QueueUrl") == [b]
    for action in ("CreateQueue", "ListQueues"):
        reply = await form(sqs, action, "/000000000000/a", QueueName="c")
        assert reply.error == (400, "InvalidAction", f"The action {action} is not valid for this endpoint.")


async def test_json_on_the_path_of_a_queue(sqs: Sqs) -> None:
    """The JSON protocol takes the queue from the path too, and a given QueueUrl first (1.2.1)."""
    await sqs.create("a")
    b = await sqs.create("b")
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessage"}
    reply = await sqs.post(b'{"MessageBody":"x"}', headers, "/000000000000/a")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-amz-json-1.0")
    await sqs.post(b'{"MessageBody":"y","QueueUrl":"%s"}' % b.encode(), headers, "/000000000000/a")
    assert (await sqs.counts("a"), await sqs.counts("b")) == ((1, 0, 0), (1, 0, 0))
    assert (await sqs.post(b"{", headers, "/000000000000/a")).error[1] == "MalformedInput"


@pytest.mark.parametrize(
    ("action", "given", "error"),
    [
        ("FooBar", {}, (400, "InvalidAction", "The action FooBar is not valid for this endpoint.")),
        ("", {}, (400, "InvalidAction", "The action  is not valid for this endpoint.")),
        ("SendMessage", {}, (400, "MissingParameter", "The request must contain the parameter MessageBody.")),
        (
            "GetQueueAttributes",
            {"AttributeName__1": "Foobar"},
            (400, "InvalidAttributeName", "Unknown Attribute Foobar."),
        ),
        (
            "SendMessage",
            {"MessageBody": "x", "DelaySeconds": "901"},
            (
                400,
                "InvalidParameterValue",
                "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
            ),
        ),
        (
            "SendMessage",
            {"MessageBody": "x", "MessageAttribute__1__Value__DataType": "String"},
            (400, "InvalidParameterValue", "The request must contain non-empty message (user) attribute names."),
        ),
        ("SetQueueAttributes", {"Attribute__1__Value": "5"}, (400, "InvalidAttributeName", "Unknown Attribute .")),
        (
            "DeleteMessage",
            {"ReceiptHandle": "x<\x02"},
            (404, "ReceiptHandleIsInvalid", 'The input receipt handle "x<\ufffd" is not a valid receipt handle.'),
        ),
    ],
)
async def test_errors(sqs: Sqs, action: str, given: dict[str, str], error: tuple[int, str, str]) -> None:
    """Errors have the codes and texts of the other protocol, and are XML whatever they quote (1.3.6)."""
    await sqs.create()
    assert (await form(sqs, action, "/000000000000/q", **given)).error == error


@pytest.mark.parametrize("accept", [{}, {"Accept": "application/json"}])
async def test_no_action(sqs: Sqs, accept: dict[str, str]) -> None:
    """A GET of a queue's path without an action is a 404 in XML, whatever the client accepts (1.3.6, 11.27)."""
    await sqs.create()
    async with sqs.session.get(f"{sqs.url}/000000000000/q", headers=accept) as response:
        assert (response.status, await response.read()) == (404, b"<UnknownOperationException/>")
    async with sqs.session.put(f"{sqs.url}/?Action=ListQueues") as response:
        assert response.status == 404


async def test_answers_in_json(sqs: Sqs) -> None:
    """With `Accept: application/json` the answer is JSON with the names of this protocol (1.3.7)."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="&quot;")
    accept = {"Accept": "application/json"}

    async def ask(query: str) -> tuple[int, Any]:
        async with sqs.session.get(f"{sqs.url}/000000000000/q?{query}", headers=accept) as response:
            assert response.headers["Content-Type"] == "application/json"
            return response.status, await response.json()

    _, reply = await ask("Action=ReceiveMessage&AttributeName.1=ApproximateReceiveCount")
    [message] = reply["ReceiveMessageResponse"]["ReceiveMessageResult"]["messages"]
    assert (message["Body"], message["Attributes"]) == ("&quot;", [{"Name": "ApproximateReceiveCount", "Value": "1"}])
    assert "RequestId" in reply["ReceiveMessageResponse"]["ResponseMetadata"]
    status, reply = await ask("Action=ListQueues")
    assert (status, reply["Error"]["Code"]) == (400, "InvalidAction")


@pytest.mark.parametrize(
    "query",
    [
        "Action=SendMessage&MessageBody=%ff",
        "Action=SendMessageBatch&" + "&".join(f"p{i}=x" for i in range(10_001)),
        "Action=ReceiveMessage&AttributeName." + "1." * 3000 + "x=All",
        "Action=ReceiveMessage&AttributeName.999999999=All&AttributeName.99999999999999999999=All&AttributeName.-1=x",
        "Action=ReceiveMessage&AttributeName.1.Name=All&AttributeName.%D9%A3=x",
        "Action=SendMessage&MessageBody.1=x&MessageBody=y&MessageAttribute.1=x&MessageAttribute.1.Name.2=x",
        "Action=SetQueueAttributes&Attribute.1.Name=DelaySeconds",
        "Action=ChangeMessageVisibility&ReceiptHandle=x&VisibilityTimeout=1.5",
        "Action=ReceiveMessage&QueueUrl=",
        "Action=ReceiveMessage&Action=SendMessage&;;;&=&==",
    ],
)
async def test_nonsense(sqs: Sqs, query: str) -> None:
    """Whatever the parameters are, the answer is no server error."""
    await sqs.create()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with sqs.session.post(f"{sqs.url}/000000000000/q", data=query.encode(), headers=headers) as response:
        body = await response.read()
        assert response.status < 500, body
        ET.fromstring(body)  # it is ours


@pytest.mark.parametrize("odd", ["A=x&A.=y", "QueueUrl=q2&QueueUrl.=y", ".=x&..=y", "=x"])
async def test_names_with_nothing_in_them(sqs: Sqs, odd: str) -> None:
    """A parameter whose name has an empty part names nothing and is passed over."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await sqs.post(f"Action=ListQueues&{odd}".encode(), headers)).status == 200


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        (b"a+b%2Bc%20d", "a b+c d"),
        (b"=%3D=3D%3d%25", "===3D=%"),
        (b"%0a%0D%0A=%0a=\n", "\n\r\n=\n=\n"),
        (b"%C3%a9\xc3\xa9", "éé"),
        (b"_%5f%09 ", "__\t "),
    ],
)
def test_percent_encoding(encoded: bytes, text: str) -> None:
    """Values are decoded as forms have them; what quoted-printable would mean by them does not count."""
    given = aws_query.parameters(Request("POST", "/", {}, b"Action=x&v=" + encoded))
    assert given == {"Action": "x", "v": text}


@pytest.mark.parametrize("broken", [b"%", b"%2", b"%zz", b"100%", b"%%41", b"%\n41"])
def test_broken_percent_encoding(broken: bytes) -> None:
    """A percent sign without two hexadecimal digits is a mistake."""
    with pytest.raises(errors.SerializationException):
        aws_query.parameters(Request("POST", "/", {}, b"Action=x&v=" + broken))
