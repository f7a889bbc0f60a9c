"""Queue attributes over HTTP, and in themselves where HTTP does not reach (contract 3)."""

import asyncio
import itertools

import pytest

from questd import errors, queue_attributes
from questd.queue_attributes import readable
from tests.client import ARN, Sqs

DEFAULTS = {
    "ApproximateNumberOfMessages": "0",
    "ApproximateNumberOfMessagesDelayed": "0",
    "ApproximateNumberOfMessagesNotVisible": "0",
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "QueueArn": f"{ARN}:q",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}


async def test_a_new_queue_has_these_attributes(sqs: Sqs) -> None:
    """`All` of a fresh standard queue are exactly AWS's twelve (contract 3.1)."""
    url = await sqs.create()
    found = await sqs.attributes(url)
    assert abs(int(found.pop("CreatedTimestamp")) - int(found.pop("LastModifiedTimestamp"))) == 0
    assert found == DEFAULTS


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("DelaySeconds", ["0", "900"], ["901", "-1", "x", "", "1.5"]),
        ("MaximumMessageSize", ["1024", "1048576"], ["1023", "1048577"]),
        ("MessageRetentionPeriod", ["60", "1209600"], ["59", "1209601"]),
        ("ReceiveMessageWaitTimeSeconds", ["0", "20"], ["21"]),
        ("VisibilityTimeout", ["0", "43200"], ["43201"]),
        ("SqsManagedSseEnabled", ["true", "false"], ["yes", ""]),
        ("KmsMasterKeyId", ["alias/aws/sqs", "arn:aws:kms:us-east-1:1:key/k"], ["x" * 2049]),
        ("Policy", ['{"Version":"2012-10-17","Statement":[]}'], ["x", "[]"]),
    ],
)
async def test_values(sqs: Sqs, name: str, good: list[str], bad: list[str]) -> None:
    """Every attribute has AWS's range, is read back as set, and a bad value changes nothing (contract 3.1, 3.3)."""
    url = await sqs.create()
    for value in good:
        await sqs("SetQueueAttributes", QueueUrl=url, Attributes={name: value})
        assert await sqs.attributes(url, name) == {name: value}
    for value in bad:
        reply = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes={name: value})
        text = f"Invalid value for the parameter {name}."
        assert reply.error == (400, "InvalidAttributeValue", "InvalidAttributeValue", text)
        assert await sqs.attributes(url, name) == {name: good[-1]}


async def test_all_or_nothing(sqs: Sqs) -> None:
    """One wrong attribute, and none of a request is set; a right one raises LastModifiedTimestamp."""
    url = await sqs.create()
    await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes={"DelaySeconds": "5", "VisibilityTimeout": "x"})
    assert await sqs.attributes(url, "DelaySeconds") == {"DelaySeconds": "0"}
    await sqs.advance(5)
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"DelaySeconds": "5"})
    found = await sqs.attributes(url)
    assert int(found["LastModifiedTimestamp"]) - int(found["CreatedTimestamp"]) >= 5


FIFO_DEFAULTS = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoQueue": "true",
    "FifoThroughputLimit": "perQueue",
}


async def test_a_new_fifo_queue_has_these_attributes(sqs: Sqs) -> None:
    """`All` of a fresh FIFO queue are a standard queue's and four of its own (contract 3.1)."""
    found = await sqs.attributes(await sqs.create("q.fifo", FifoQueue="True"))
    del found["CreatedTimestamp"], found["LastModifiedTimestamp"]
    assert found == DEFAULTS | FIFO_DEFAULTS | {"QueueArn": f"{ARN}:q.fifo"}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"ContentBasedDeduplication": "True"}, {"ContentBasedDeduplication": "true"}),
        ({"DeduplicationScope": "messageGroup"}, {"DeduplicationScope": "messageGroup"}),
        ({"FifoThroughputLimit": "perQueue"}, {}),
        ({"FifoQueue": "TRUE", "DelaySeconds": "1"}, {"DelaySeconds": "1"}),
        (
            {"FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup"},
            {"FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup"},
        ),
    ],
)
async def test_attributes_of_a_fifo_queue(sqs: Sqs, attributes: dict[str, str], expected: dict[str, str]) -> None:
    """What only FIFO queues have can be given at creation, and set later (contract 3.1)."""
    before = await sqs.create("a.fifo", **{"FifoQueue": "true"} | attributes)
    after = await sqs.create("b.fifo", FifoQueue="true")
    await sqs.set(after, **attributes)
    names = [*FIFO_DEFAULTS, "DelaySeconds"]
    for url in (before, after):
        assert await sqs.attributes(url, *names) == FIFO_DEFAULTS | {"DelaySeconds": "0"} | expected


GROUP_SCOPE_TEXT = "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup"


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"ContentBasedDeduplication": "x"}, "Invalid value for the parameter ContentBasedDeduplication."),
        ({"DeduplicationScope": "group"}, "Invalid value for the parameter DeduplicationScope."),
        ({"FifoThroughputLimit": ""}, "Invalid value for the parameter FifoThroughputLimit."),
        ({"FifoThroughputLimit": "perMessageGroupId"}, GROUP_SCOPE_TEXT),
        ({"FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "queue"}, GROUP_SCOPE_TEXT),
    ],
)
async def test_values_that_a_fifo_queue_refuses(sqs: Sqs, attributes: dict[str, str], text: str) -> None:
    """A wrong value of a FIFO attribute is InvalidAttributeValue, at creation and later (contract 3.3)."""
    url = await sqs.create("a.fifo", FifoQueue="true")
    set_later = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes=attributes)
    at_creation = await sqs.ask("CreateQueue", QueueName="b.fifo", Attributes={"FifoQueue": "true"} | attributes)
    for reply in (set_later, at_creation):
        assert reply.error == (400, "InvalidAttributeValue", "InvalidAttributeValue", text)
    assert await sqs.attributes(url, *FIFO_DEFAULTS) == FIFO_DEFAULTS


async def test_the_scope_cannot_leave_the_throughput_limit(sqs: Sqs) -> None:
    """Scope and limit are checked together, whichever was set before."""
    high = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    url = await sqs.create("q.fifo", FifoQueue="true", **high)
    reply = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes={"DeduplicationScope": "queue"})
    assert reply.error[3] == GROUP_SCOPE_TEXT
    await sqs.set(url, DeduplicationScope="queue", FifoThroughputLimit="perQueue")
    await sqs.set(url, DeduplicationScope="messageGroup")
    await sqs.set(url, FifoThroughputLimit="perMessageGroupId")
    assert await sqs.attributes(url, *high) == high


async def test_a_queue_keeps_its_type(sqs: Sqs) -> None:
    """FifoQueue can be set to what it is, and to nothing else (contract 3.3)."""
    url = await sqs.create("q.fifo", FifoQueue="true")
    await sqs.set(url, FifoQueue="true")
    text = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
    for value in ("False", "x"):
        reply = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes={"FifoQueue": value})
        assert reply.error == (400, "InvalidAttributeValue", "InvalidAttributeValue", text)


@pytest.mark.parametrize("scope", ["queue", "messageGroup"])
async def test_deduplication_stays_as_created(sqs: Sqs, scope: str) -> None:
    """Another DeduplicationScope is read back, but changes nothing (contract 6.3)."""
    url = await sqs.create("q.fifo", FifoQueue="true", DeduplicationScope=scope)
    other = {"queue": "messageGroup", "messageGroup": "queue"}[scope]
    await sqs.set(url, DeduplicationScope=other)
    for group in ("a", "b"):
        await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageGroupId=group, MessageDeduplicationId="1")
    assert await sqs.attributes(url, "DeduplicationScope") == {"DeduplicationScope": other}
    assert await sqs.counts(url) == ({"queue": 1, "messageGroup": 2}[scope], 0, 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Foo", "Unknown Attribute Foo."),
        ("", "Unknown Attribute ."),
        ("All", "Unknown Attribute All."),
        ("CreatedTimestamp", "Unknown Attribute CreatedTimestamp."),
        ("QueueArn", "Unknown Attribute QueueArn."),
        ("FifoQueue", "Unknown Attribute FifoQueue."),
        ("ContentBasedDeduplication", "Unknown Attribute ContentBasedDeduplication."),
        ("DeduplicationScope", "You can specify the DeduplicationScope only when FifoQueue is set to true."),
        ("FifoThroughputLimit", "You can specify the FifoThroughputLimit only when FifoQueue is set to true."),
    ],
)
async def test_attributes_that_a_standard_queue_has_not(sqs: Sqs, name: str, text: str) -> None:
    """Unknown, read-only and FIFO attributes are InvalidAttributeName, set or at creation (contract 3.3)."""
    url = await sqs.create()
    places = (("SetQueueAttributes", {"QueueUrl": url}), ("CreateQueue", {"QueueName": "other"}))
    for (action, members), value in itertools.product(places, ("false", "messageGroup")):
        reply = await sqs.ask(action, Attributes={name: value}, **members)
        assert reply.error == (400, "InvalidAttributeName", "InvalidAttributeName", text)


async def test_names_to_read(sqs: Sqs) -> None:
    """No names give nothing, an unset one is absent, an unknown one is an error (contract 2.5)."""
    url = await sqs.create()
    assert await sqs("GetQueueAttributes", QueueUrl=url) == {}
    assert await sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy", "FifoQueue"]) == {}
    reply = await sqs.ask("GetQueueAttributes", QueueUrl=url, AttributeNames=["Foobar"])
    assert reply.error == (400, "InvalidAttributeName", "InvalidAttributeName", "Unknown Attribute Foobar.")


async def test_encryption_is_of_one_kind(sqs: Sqs) -> None:
    """A KMS key turns SQS's own encryption off; both are refused; taking the key away leaves it off (contract 3.2)."""
    url = await sqs.create()
    both = {"KmsMasterKeyId": "key", "SqsManagedSseEnabled": "true"}
    reply = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes=both)
    assert reply.error[1] == "InvalidAttributeName"
    assert reply.error[3].startswith("You can use one type of server-side encryption (SSE) at one time.")
    names = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")
    key = {"KmsMasterKeyId": "key", "KmsDataKeyReusePeriodSeconds": "60"}
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes=key)
    assert await sqs.attributes(url, *names) == key | {"SqsManagedSseEnabled": "false"}
    none = {"KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": "300"}
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes=none)
    assert await sqs.attributes(url, *names) == {"SqsManagedSseEnabled": "false"}
    assert not {"KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"} & set(await sqs.attributes(url))


async def test_a_key_has_a_reuse_period(sqs: Sqs) -> None:
    """With a key the reuse period is 300 s when nobody said another; both may come at creation, with SSE-SQS off."""
    url = await sqs.create(KmsMasterKeyId="key", SqsManagedSseEnabled="false")
    expected = {"KmsMasterKeyId": "key", "KmsDataKeyReusePeriodSeconds": "300", "SqsManagedSseEnabled": "false"}
    assert (await sqs.attributes(url)).items() >= expected.items()
    assert await sqs.create(**expected) == url
    await sqs.set(url, SqsManagedSseEnabled="true")
    assert await sqs.attributes(url, *expected) == {"SqsManagedSseEnabled": "true"}


async def test_a_change_counts_at_once(sqs: Sqs) -> None:
    """A receive after a change of ReceiveMessageWaitTimeSeconds waits as long as the change says."""
    url = await sqs.create()
    assert await sqs.receive(url) == []
    await sqs.set(url, ReceiveMessageWaitTimeSeconds="20")
    waiting = asyncio.create_task(sqs.receive(url))
    await asyncio.wait({waiting}, timeout=0.02)
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    assert [message["Body"] for message in await waiting] == ["x"]


LIMITS = {"MaximumMessageSize": 2**20, "MessageRetentionPeriod": 1_209_600}


def stored(attributes: dict[str, str]) -> queue_attributes.Stored:
    """Return what is stored of attributes of a standard queue, with AWS's limits."""
    return queue_attributes.stored(attributes, LIMITS, None)


@pytest.mark.parametrize("value", ["007", "7"])
def test_numbers_are_stored_in_canonical_form(value: str) -> None:
    """A number is kept without leading zeros (contract 3.2)."""
    assert stored({"DelaySeconds": value}) == {"DelaySeconds": "7"}


@pytest.mark.parametrize("value", ["٣", "1e2", "+5", "0x1", "1_0", "²"])
def test_what_only_python_takes_for_a_number_is_none(value: str) -> None:
    """Only ASCII digits are a number."""
    with pytest.raises(errors.InvalidAttributeValue):
        stored({"DelaySeconds": value})


@pytest.mark.parametrize("value", ["True", "TRUE", "true"])
def test_booleans_are_read_in_any_case(value: str) -> None:
    """A boolean reads back in lower case (contract 3.2)."""
    assert stored({"SqsManagedSseEnabled": value})["SqsManagedSseEnabled"] == "true"


def test_a_redrive_policy_is_stored_in_parts() -> None:
    """The target and the count are two fields; an empty policy takes both away."""
    arn = "arn:aws:sqs:us-east-1:000000000000:dead"
    policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"3"}}'
    assert stored({"RedrivePolicy": policy}) == {"deadLetterTarget": arn, "maxReceiveCount": "3"}
    assert stored({"RedrivePolicy": ""}) == {"deadLetterTarget": "", "maxReceiveCount": ""}


def test_eleven_sources_are_too_many() -> None:
    """A RedriveAllowPolicy names ten sources at most (contract 7.2)."""
    arns = ",".join(f'"arn:aws:sqs:us-east-1:000000000000:q{i}"' for i in range(11))
    with pytest.raises(errors.InvalidParameterValueException, match="maximum number of source queue ARNs"):
        stored({"RedriveAllowPolicy": f'{{"redrivePermission":"byQueue","sourceQueueArns":[{arns}]}}'})


def test_the_key_reuse_period_shows_only_with_a_key() -> None:
    """KmsDataKeyReusePeriodSeconds is not shown without KmsMasterKeyId (contract 3.2)."""
    fields = {"created": "1999", "modified": "2000", "KmsDataKeyReusePeriodSeconds": "300"}
    shown = readable(fields, (1, 2, 3), lambda name: f"arn:{name}", "q")
    assert "KmsDataKeyReusePeriodSeconds" not in shown
    assert (shown["CreatedTimestamp"], shown["LastModifiedTimestamp"], shown["QueueArn"]) == ("1", "2", "arn:q")
