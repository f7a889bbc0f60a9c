"""Queues over HTTP: made, found, listed, described, changed, emptied, deleted (contract 2.1 to 2.7, 7.1, 7.2)."""

import json
from typing import Any

import pytest

from tests.client import ARN, Sqs, serving
from tests.servers import RedisServer

ABSENT = (
    400, "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "The specified queue does not exist."
)  # fmt: skip
NAME_TEXT = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"


def redrive(target: str, count: object) -> str:
    """Return a RedrivePolicy."""
    return json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count})


async def test_the_url_has_the_host_that_the_client_used(sqs: Sqs) -> None:
    """A QueueUrl can be reached by whoever gets it: the request's Host, the account, the name (contract 1.4)."""
    headers = {"X-Amz-Target": "AmazonSQS.CreateQueue", "Host": "queues.example:80"}
    reply = await sqs.post(b'{"QueueName":"q"}', headers)
    assert reply.json == {"QueueUrl": "http://queues.example:80/000000000000/q"}
    assert await sqs("GetQueueUrl", QueueName="q") == {"QueueUrl": f"{sqs.url}/000000000000/q"}


async def test_the_url_can_be_set(redis_server: RedisServer) -> None:
    """--public-url beats the Host."""
    async with serving(
        redis_server.url, public_url="https://mq.example/", region="eu-west-1", account="111122223333"
    ) as sqs:
        url = await sqs.create()
        assert url == "https://mq.example/111122223333/q"
        assert await sqs.attributes(url, "QueueArn") == {"QueueArn": "arn:aws:sqs:eu-west-1:111122223333:q"}


@pytest.mark.parametrize("name", ["a b", "a/b", "a{b}", "a.b", "x" * 81, "ä", "q.fifo", "a\n"])
async def test_bad_names(sqs: Sqs, name: str) -> None:
    """A name that is none is refused with AWS's words; `.fifo` is for FIFO queues only."""
    reply = await sqs.ask("CreateQueue", QueueName=name)
    assert reply.error == (400, "InvalidParameterValue", "InvalidParameterValueException", NAME_TEXT)


async def test_members_that_are_null_are_absent(sqs: Sqs) -> None:
    """Null stands for a member that was not given (the awsJson rule)."""
    url = (await sqs("CreateQueue", QueueName="q", Attributes=None, tags=None))["QueueUrl"]
    assert await sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=None) == {}


async def test_no_name(sqs: Sqs) -> None:
    """A missing name has its own words."""
    assert (await sqs.ask("CreateQueue")).error[1] == "MissingParameter"
    assert (await sqs.ask("CreateQueue", QueueName="")).error[3] == "Queue name cannot be empty"
    for members in ({}, {"QueueName": ""}):
        assert (await sqs.ask("GetQueueUrl", **members)).error[:2] == (400, "InvalidParameterValue")


async def test_creating_it_again(sqs: Sqs) -> None:
    """The same attributes, some or none of them are the same queue; another current value is QueueNameExists (2.1)."""
    url = await sqs.create(VisibilityTimeout="60", DelaySeconds="1")
    assert await sqs.create() == url
    assert await sqs.create(VisibilityTimeout="60") == url
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"VisibilityTimeout": "61"})
    assert await sqs.create(VisibilityTimeout="61", DelaySeconds="1") == url
    reply = await sqs.ask("CreateQueue", QueueName="q", Attributes={"VisibilityTimeout": "60"})
    text = "A queue already exists with the same name and a different value for attribute VisibilityTimeout"
    assert reply.error == (400, "QueueAlreadyExists", "QueueNameExists", text)


async def test_another_redrive_policy_is_another_queue(sqs: Sqs) -> None:
    """RedrivePolicy is compared as one attribute."""
    await sqs.create("dead")
    await sqs.create(RedrivePolicy=redrive(f"{ARN}:dead", 3))
    await sqs.create(RedrivePolicy=redrive(f"{ARN}:dead", "3"))
    reply = await sqs.ask("CreateQueue", QueueName="q", Attributes={"RedrivePolicy": redrive(f"{ARN}:dead", 4)})
    assert reply.error[3].endswith("a different value for attribute RedrivePolicy")


async def test_a_redrive_policy_is_read_back_compact(sqs: Sqs) -> None:
    """MaxReceiveCount reads back as a number; an empty policy takes it away (contract 3.2, 7.1)."""
    await sqs.create("dead")
    url = await sqs.create(RedrivePolicy=redrive(f"{ARN}:dead", "7"))
    expected = f'{{"deadLetterTargetArn":"{ARN}:dead","maxReceiveCount":7}}'
    assert await sqs.attributes(url, "RedrivePolicy") == {"RedrivePolicy": expected}
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": ""})
    assert await sqs.attributes(url, "RedrivePolicy") == {}


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (redrive(f"{ARN}:nope", 3), "Dead letter target does not exist."),
        (
            redrive(f"{ARN}:dead", 0),
            "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            redrive(f"{ARN}:dead", 1001),
            "Invalid value for maxReceiveCount: 1001, valid values are from 1 to 1000 both inclusive.",
        ),
        (redrive("dummy", 3), "Dead-letter target ARN should be fully qualified ARN."),
        (
            redrive("arn:aws:sns:us-east-1:000000000000:dead", 3),
            "Only SQS queues are valid resources for deadLetterTargetArn.",
        ),
        (
            redrive("arn:aws:sqs:us-east-1:999999999999:dead", 3),
            "Dead-letter target owner should be same as the source.",
        ),
        (redrive(f"{ARN}:dead.fifo", 3), "Dead-letter queue must be same type of queue as the source.."),
        (
            redrive(f"{ARN}:dead", "invalid"),
            "Invalid value for maxReceiveCount: invalid, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            redrive(f"{ARN}:dead", [1]),
            "Invalid value for maxReceiveCount: [1], valid values are from 1 to 1000 both inclusive.",
        ),
        (redrive("arn:aws:sqs:us-east-1:000000000000:", 3), "Dead-letter target ARN should be fully qualified ARN."),
        (
            f'{{"deadLetterTargetArn":"{ARN}:dead","maxReceiveCount":1,"x":1}}',
            "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
        ),
        ('{"maxReceiveCount":3}', "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."),
        (
            f'{{"deadLetterTargetArn":"{ARN}:dead"}}',
            "Redrive policy does not contain mandatory attribute: maxReceiveCount.",
        ),
    ],
)
async def test_redrive_policies_that_are_none(sqs: Sqs, policy: str, reason: str) -> None:
    """A RedrivePolicy that cannot work is refused with the value as sent and AWS's reason (contract 7.1)."""
    await sqs.create("dead")
    await sqs.create("dead.fifo", FifoQueue="true")
    url = await sqs.create()
    text = f"Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}"
    for action, members in (("SetQueueAttributes", {"QueueUrl": url}), ("CreateQueue", {"QueueName": "other"})):
        reply = await sqs.ask(action, Attributes={"RedrivePolicy": policy}, **members)
        assert reply.error == (400, "InvalidParameterValue", "InvalidParameterValueException", text)


@pytest.mark.parametrize("policy", ["x", "[]", "3"])
async def test_a_redrive_policy_is_json(sqs: Sqs, policy: str) -> None:
    """What is no JSON map is InvalidAttributeValue (contract 7.1)."""
    url = await sqs.create()
    reply = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": policy})
    text = "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."
    assert reply.error == (400, "InvalidAttributeValue", "InvalidAttributeValue", text)


async def test_a_queue_can_be_its_own_dead_letter_queue(sqs: Sqs) -> None:
    """A queue may name itself (contract 11.35), and is then its own source."""
    url = await sqs.create()
    await sqs.set(url, RedrivePolicy=redrive(f"{ARN}:q", 1))
    assert await sqs("ListDeadLetterSourceQueues", QueueUrl=url) == {"queueUrls": [url]}


async def test_a_dead_letter_queue_chooses_its_sources(sqs: Sqs) -> None:
    """RedriveAllowPolicy is enforced: deny all, or only the queues it names (contract 7.2)."""
    dead, url = await sqs.create("dead"), await sqs.create()

    async def allowed(policy: dict[str, Any]) -> bool:
        text = json.dumps(policy)
        await sqs("SetQueueAttributes", QueueUrl=dead, Attributes={"RedriveAllowPolicy": text})
        compact = json.dumps(policy, separators=(",", ":"))
        assert await sqs.attributes(dead, "RedriveAllowPolicy") == {"RedriveAllowPolicy": compact}
        policy_of_source = {"RedrivePolicy": redrive(f"{ARN}:dead", 3)}
        return (await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes=policy_of_source)).status == 200

    assert not await allowed({"redrivePermission": "denyAll"})
    assert not await allowed({"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}:other"]})
    assert await allowed({"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}:q"]})
    assert await allowed({"redrivePermission": "allowAll"})


UNSUPPORTED = (
    "Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create the redrive allow policy, "
    "as it\u2019s in an unsupported format."
)
NO_SOURCES = "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values."


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("x", None),
        ("[]", None),
        ("{}", None),
        ('{"redrivePermission":"maybe"}', None),
        ('{"redrivePermission":["allowAll"]}', None),
        ('{"redrivePermission":"allowAll","x":1}', None),
        ('{"redrivePermission":"byQueue","sourceQueueArns":"arn"}', None),
        ('{"redrivePermission":"byQueue","sourceQueueArns":[1]}', None),
        ('{"redrivePermission":"byQueue"}', NO_SOURCES),
        ('{"redrivePermission":"byQueue","sourceQueueArns":[]}', NO_SOURCES),
        (
            '{"redrivePermission":"denyAll","sourceQueueArns":["arn"]}',
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        ),
        (
            json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": ["arn"] * 11}),
            "The maximum number of source queue ARNs you can specify is 10.",
        ),
    ],
)
async def test_redrive_allow_policies_that_are_none(sqs: Sqs, policy: str, text: str | None) -> None:
    """A RedriveAllowPolicy says allowAll, denyAll, or byQueue with one to ten sources (contract 7.2)."""
    url = await sqs.create()
    reply = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes={"RedriveAllowPolicy": policy})
    if text is None:
        assert reply.error == (400, "InvalidAttributeValue", "InvalidAttributeValue", UNSUPPORTED)
        return
    prefix = f"Value {policy} for parameter RedriveAllowPolicy is invalid. Reason: Amazon SQS can't create the redrive"
    expected = f"{prefix} allow policy. {text}"
    assert reply.error == (400, "InvalidParameterValue", "InvalidParameterValueException", expected)


async def test_a_redrive_allow_policy_goes(sqs: Sqs) -> None:
    """An empty RedriveAllowPolicy takes it away: everybody is allowed again."""
    dead = await sqs.create("dead", RedriveAllowPolicy='{"redrivePermission":"denyAll"}')
    await sqs.set(dead, RedriveAllowPolicy="")
    assert await sqs.attributes(dead, "RedriveAllowPolicy") == {}
    await sqs.create(RedrivePolicy=redrive(f"{ARN}:dead", 1))


async def test_listing(sqs: Sqs) -> None:
    """ListQueues is sorted, takes a prefix, and is `{}` when nothing matches (contract 2.4)."""
    assert (await sqs.ask("ListQueues")).body == b"{}"
    urls = {name: await sqs.create(name) for name in ("b", "a", "ab")}
    assert (await sqs("ListQueues"))["QueueUrls"] == [urls["a"], urls["ab"], urls["b"]]
    assert (await sqs("ListQueues", QueueNamePrefix="a"))["QueueUrls"] == [urls["a"], urls["ab"]]
    assert (await sqs("ListQueues", QueueNamePrefix="A")) == {}
    await sqs("DeleteQueue", QueueUrl=urls["a"])
    assert (await sqs("ListQueues", QueueNamePrefix="a"))["QueueUrls"] == [urls["ab"]]


async def test_pages(sqs: Sqs) -> None:
    """With MaxResults a page has at most so many, and a NextToken when there are more; without, there is no token."""
    urls = [await sqs.create(f"q{i}") for i in range(5)]
    found: list[str] = []
    sizes: list[int] = []
    token: dict[str, str] = {}
    while True:
        page = await sqs("ListQueues", MaxResults=2, QueueNamePrefix="q", **token)
        found += page["QueueUrls"]
        sizes.append(len(page["QueueUrls"]))
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert (found, sizes) == (urls, [2, 2, 1])
    assert "NextToken" not in await sqs("ListQueues")
    for wrong in ("!", "é", "A", "====", "/w=="):
        assert (await sqs.ask("ListQueues", MaxResults=2, NextToken=wrong)).error[:2] == (400, "InvalidParameterValue")
    for count in (0, 1001):
        text = "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 1000."
        assert (await sqs.ask("ListQueues", MaxResults=count)).error[3] == text


@pytest.mark.parametrize("url", ["nope", "http://x/000000000000/nope", "", "/", "a b", "http://x/1/q{r}"])
async def test_a_queue_that_is_not_there(sqs: Sqs, url: str) -> None:
    """Every action on it is QueueDoesNotExist, with the code that older SDKs know (contract 1.2.3)."""
    actions: dict[str, dict[str, Any]] = {
        "GetQueueAttributes": {},
        "SetQueueAttributes": {"Attributes": {"DelaySeconds": "1"}},
        "PurgeQueue": {},
        "DeleteQueue": {},
        "SendMessage": {"MessageBody": "x"},
        "ReceiveMessage": {},
        "DeleteMessage": {"ReceiptHandle": "x"},
        "ChangeMessageVisibility": {"ReceiptHandle": "x", "VisibilityTimeout": 0},
        "TagQueue": {"Tags": {"a": "b"}},
        "UntagQueue": {"TagKeys": ["a"]},
        "ListQueueTags": {},
        "AddPermission": {"Label": "a", "AWSAccountIds": ["111122223333"], "Actions": ["*"]},
        "RemovePermission": {"Label": "a"},
        "ListDeadLetterSourceQueues": {},
    }
    for action, members in actions.items():
        assert (await sqs.ask(action, QueueUrl=url, **members)).error == ABSENT, action
    assert (await sqs.ask("SendMessage", MessageBody="x")).error == ABSENT
    assert (await sqs.ask("GetQueueUrl", QueueName=url or "nope")).error == ABSENT


async def test_a_queue_can_be_named_in_many_ways(sqs: Sqs) -> None:
    """QueueUrl is a URL with any host, or the bare name (contract 1.4)."""
    url = await sqs.create()
    for given in (url, "q", "https://sqs.us-east-1.amazonaws.com/000000000000/q"):
        await sqs("SendMessage", QueueUrl=given, MessageBody="x")
    assert await sqs.counts(url) == (3, 0, 0)


async def test_purge(sqs: Sqs) -> None:
    """PurgeQueue forgets visible, delayed and in-flight messages, and the queue goes on (contract 2.7)."""
    url = await sqs.create()
    for delay in (0, 0, 60):
        await sqs("SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds=delay)
    [message] = await sqs.receive(url)
    for _ in range(2):
        reply = await sqs.ask("PurgeQueue", QueueUrl=url)
        assert (reply.status, reply.body) == (200, b"")
    assert await sqs.counts(url) == (0, 0, 0)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    await sqs("SendMessage", QueueUrl=url, MessageBody="next")
    assert [found["Body"] for found in await sqs.receive(url, MaxNumberOfMessages=10)] == ["next"]


async def test_delete_and_create_again(sqs: Sqs) -> None:
    """A deleted queue is gone at once with its messages; a new one of its name knows nothing of it."""
    url = await sqs.create(VisibilityTimeout="60")
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    handle = (await sqs.receive(url))[0]["ReceiptHandle"]
    assert (await sqs.ask("DeleteQueue", QueueUrl=url)).body == b""
    assert (await sqs.ask("GetQueueUrl", QueueName="q")).error == ABSENT
    assert (await sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")).error == ABSENT
    await sqs.create()
    assert await sqs.receive(url) == []
    assert await sqs.attributes(url, "VisibilityTimeout") == {"VisibilityTimeout": "30"}
    reply = await sqs.ask("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
    assert reply.error[3] == f'The receipt handle "{handle}" is not valid for this queue.'


async def test_strict_aws_waits_60_seconds(redis_server: RedisServer) -> None:
    """With --strict-aws a name is free again, and a queue can be purged again, only after 60 seconds (2.1, 2.7)."""
    async with serving(redis_server.url, strict_aws=True) as sqs:
        url = await sqs.create()
        await sqs("PurgeQueue", QueueUrl=url)
        text = "Only one PurgeQueue operation on q is allowed every 60 seconds."
        reply = await sqs.ask("PurgeQueue", QueueUrl=url)
        assert reply.error == (403, "AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress", text)
        await sqs.advance(60)
        await sqs("PurgeQueue", QueueUrl=url)
        await sqs("DeleteQueue", QueueUrl=url)
        text = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
        reply = await sqs.ask("CreateQueue", QueueName="q")
        assert reply.error == (400, "AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently", text)
        await sqs.advance(60)
        await sqs.create()


@pytest.mark.parametrize(
    ("name", "given", "code", "text"),
    [
        ("q", {"FifoQueue": "true"}, "InvalidParameterValue", "must end with .fifo suffix and be 1 to 80 in length."),
        (
            "q.FIFO",
            {"FifoQueue": "True"},
            "InvalidParameterValue",
            "must end with .fifo suffix and be 1 to 80 in length.",
        ),
        ("q", {"FifoQueue": "false"}, "InvalidAttributeName", "Unknown Attribute FifoQueue."),
        ("q.fifo", {"FifoQueue": "false"}, "InvalidAttributeName", "Unknown Attribute FifoQueue."),
        ("q.fifo", {}, "InvalidParameterValue", NAME_TEXT),
        ("x" * 76 + ".fifo", {"FifoQueue": "true"}, "InvalidParameterValue", NAME_TEXT),
        ("q.fifo.fifo", {"FifoQueue": "true"}, "InvalidParameterValue", NAME_TEXT),
        ("q.fifo", {"FifoQueue": "true", "DeduplicationScope": "x"}, "InvalidAttributeValue", "DeduplicationScope."),
        ("q.fifo", {"FifoQueue": "true", "FifoThroughputLimit": "x"}, "InvalidAttributeValue", "FifoThroughputLimit."),
        (
            "q.fifo",
            {"FifoQueue": "true", "ContentBasedDeduplication": "x"},
            "InvalidAttributeValue",
            "Invalid value for the parameter ContentBasedDeduplication.",
        ),
        (
            "q.fifo",
            {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"},
            "InvalidAttributeValue",
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup",
        ),
    ],
)
async def test_fifo_queues_that_are_none(sqs: Sqs, name: str, given: dict[str, str], code: str, text: str) -> None:
    """What a FIFO queue needs, and what it may not have, is refused in AWS's words (contract 2.1, 3.3)."""
    reply = await sqs.ask("CreateQueue", QueueName=name, Attributes=given)
    assert reply.error[:2] == (400, code)
    assert reply.error[3].endswith(text)


async def test_creating_a_fifo_queue_again(sqs: Sqs) -> None:
    """A FIFO queue with equal attributes is as good, defaults included; another value is another queue (2.1)."""
    url = await sqs.create("q.fifo", FifoQueue="true")
    assert await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="false") == url
    given = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    reply = await sqs.ask("CreateQueue", QueueName="q.fifo", Attributes=given)
    assert reply.error[1] == "QueueAlreadyExists"


async def test_a_dead_letter_queue_is_of_the_same_type(sqs: Sqs) -> None:
    """A FIFO queue has a FIFO dead-letter queue, a standard queue a standard one (contract 7.1)."""
    await sqs.create("dead")
    await sqs.create("dead.fifo", FifoQueue="true")
    for name, target, given in (("q", "dead.fifo", {}), ("q.fifo", "dead", {"FifoQueue": "true"})):
        policy = redrive(f"{ARN}:{target}", 3)
        reply = await sqs.ask("CreateQueue", QueueName=name, Attributes={**given, "RedrivePolicy": policy})
        assert reply.error[3].endswith("Reason: Dead-letter queue must be same type of queue as the source..")


async def test_a_short_retention_is_the_default(redis_server: RedisServer) -> None:
    """Where messages may be kept for an hour at most, a queue keeps them for an hour when nobody says otherwise."""
    async with serving(redis_server.url, max_retention=3600) as sqs:
        url = await sqs.create()
        assert await sqs.attributes(url, "MessageRetentionPeriod") == {"MessageRetentionPeriod": "3600"}
        await sqs("SendMessage", QueueUrl=url, MessageBody="x")
        await sqs.advance(3601)
        assert await sqs.receive(url) == []


async def test_limits_are_settings(redis_server: RedisServer) -> None:
    """The largest message and the longest retention can be set, and hold for queues and batches."""
    async with serving(redis_server.url, max_message_size=2_000_000, max_retention=10**8) as sqs:
        url = await sqs.create(MessageRetentionPeriod=str(10**8))
        assert (await sqs.attributes(url, "MaximumMessageSize")) == {"MaximumMessageSize": "2000000"}
        await sqs("SendMessage", QueueUrl=url, MessageBody="x" * 2_000_000)
        reply = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes={"MaximumMessageSize": "2000001"})
        assert reply.error[1] == "InvalidAttributeValue"
        reply = await sqs.ask("SendMessage", QueueUrl=url, MessageBody="x" * 2_000_001)
        assert reply.error[3].endswith("Message must be shorter than 2000000 bytes.")


async def test_what_is_there_needs_nothing_more(sqs: Sqs) -> None:
    """CreateQueue with attributes that a queue has gives its URL, also when a new one could not be made so by now."""
    given = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    url = await sqs.create("q.fifo", FifoQueue="true", **given)
    assert await sqs.create("q.fifo", FifoQueue="true", FifoThroughputLimit="perMessageGroupId") == url
    dead = await sqs.create("dead")
    policy = redrive(f"{ARN}:dead", 1)
    url = await sqs.create("q", RedrivePolicy=policy)
    await sqs.set(dead, RedriveAllowPolicy='{"redrivePermission":"denyAll"}')
    assert await sqs.create("q", RedrivePolicy=policy) == url
    await sqs("DeleteQueue", QueueUrl=dead)
    assert await sqs.create("q", RedrivePolicy=policy) == url
    reply = await sqs.ask("CreateQueue", QueueName="q", Attributes={"RedrivePolicy": redrive(f"{ARN}:other", 1)})
    assert reply.error[1] == "QueueAlreadyExists"


async def test_a_target_that_can_be_no_queue(sqs: Sqs) -> None:
    """A dead-letter queue of this account whose name no queue can have does not exist."""
    reply = await sqs.ask("CreateQueue", QueueName="q", Attributes={"RedrivePolicy": redrive(f"{ARN}:a!b", 1)})
    assert reply.error[3].endswith("Reason: Dead letter target does not exist.")
