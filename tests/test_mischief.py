"""Chaos over HTTP: each kind of it does what it says, for the account that has it coming, the same by the same seed."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.client import Reply, Sqs, serving
from tests.servers import RedisServer
from tests.test_namespaces import ask

ANOTHER = "111122223333"
TEN = [str(i) for i in range(10)]


@pytest.fixture
async def sqs(redis_server: RedisServer) -> AsyncIterator[Sqs]:
    """Give a client of a questd on which tests may ask for chaos."""
    async with serving(redis_server.url, workers=1, multi_region=True) as client:
        yield client


async def chaos(sqs: Sqs, **members: Any) -> None:
    """Ask for chaos."""
    async with sqs.session.post(f"{sqs.url}/_questd/chaos", json=members) as response:
        assert response.status == 200, await response.text()


async def delete(sqs: Sqs, url: str, messages: list[dict[str, Any]]) -> Reply:
    """Delete messages in one batch."""
    entries = [{"Id": message["Body"], "ReceiptHandle": message["ReceiptHandle"]} for message in messages]
    return await sqs.ask("DeleteMessageBatch", QueueUrl=url, Entries=entries)


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    """Return their bodies."""
    return [message["Body"] for message in messages]


async def test_duplicates(sqs: Sqs) -> None:
    """A deleted message is delivered once more, as the same message with a higher count, and then is gone."""
    url = await sqs.create()
    await chaos(sqs, duplicates=1)
    sent = await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    seen = []
    for _ in range(2):
        [message] = await sqs.receive(url, MessageSystemAttributeNames=["ApproximateReceiveCount"])
        seen.append((message["MessageId"], message["Attributes"]["ApproximateReceiveCount"]))
        await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert seen == [(sent["MessageId"], "1"), (sent["MessageId"], "2")]
    assert await sqs.counts(url) == (0, 0, 0)


async def test_duplicates_in_batches(sqs: Sqs) -> None:
    """In a batch some come back and others do not; all are answered as deleted, but for what is wrong in itself."""
    url = await sqs.create()
    await chaos(sqs, duplicates=0.5, seed=3)
    await sqs.fill(url, TEN)
    first = await sqs.receive(url, MaxNumberOfMessages=10)
    answer = (await delete(sqs, url, [*first[:9], {"Body": "wrong", "ReceiptHandle": "garbage"}])).json
    assert sorted(entry["Id"] for entry in answer["Successful"]) == bodies(first[:9])
    assert [entry["Id"] for entry in answer["Failed"]] == ["wrong"]
    again = await sqs.receive(url, MaxNumberOfMessages=10)
    assert 0 < len(again) < 9
    assert "Failed" not in (await delete(sqs, url, again)).json
    assert await sqs.counts(url) == (0, 1, 0)


@pytest.mark.parametrize("kind", ["duplicates", "reordering"])
async def test_not_in_fifo_queues(sqs: Sqs, kind: str) -> None:
    """A FIFO queue keeps its order, and delivers nothing that was deleted."""
    url = await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    await chaos(sqs, **{kind: 1})
    for body in TEN:
        await sqs("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId="g")
    messages = await sqs.receive(url, MaxNumberOfMessages=10)
    assert bodies(messages) == TEN
    await delete(sqs, url, messages[:5])
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=messages[5]["ReceiptHandle"])
    assert await sqs.counts(url) == (0, 4, 0)


async def test_reordering(sqs: Sqs) -> None:
    """Receives of any size get messages out of order, none is lost, and what was only looked at has not been received."""
    url = await sqs.create()
    await chaos(sqs, reordering=1, seed=1)
    await sqs.fill(url, TEN)
    seen = []
    for number in (1, 1, 5, 10):
        messages = await sqs.receive(url, MaxNumberOfMessages=number, AttributeNames=["ApproximateReceiveCount"])
        seen += [(message["Body"], message["Attributes"]["ApproximateReceiveCount"]) for message in messages]
    assert sorted(seen) == [(body, "1") for body in TEN]
    assert [body for body, _ in seen] != TEN
    assert await sqs.receive(url) == []


async def test_a_look_is_no_receive(sqs: Sqs) -> None:
    """LocalStack's look at messages shows them as they are."""
    url = await sqs.create()
    await chaos(sqs, reordering=1)
    await sqs.fill(url, TEN)
    async with sqs.session.get(
        f"{sqs.url}/_aws/sqs/messages?QueueUrl={url}", headers={"Accept": "application/json"}
    ) as response:
        shown = (await response.json())["ReceiveMessageResponse"]["ReceiveMessageResult"]["Message"]
    assert bodies(shown) == TEN
    assert await sqs.counts(url) == (10, 0, 0)


async def test_batch_failures(sqs: Sqs) -> None:
    """Some entries of a batch fail as the server's fault, the others are done, and the failed ones may be sent again."""
    url = await sqs.create()
    await chaos(sqs, batch_failures=0.5, seed=1)
    attribute = {"a": {"DataType": "Binary", "BinaryValue": "AQID"}}
    entries = [{"Id": body, "MessageBody": body, "MessageAttributes": attribute} for body in TEN]
    answer = await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
    failed = [entry["Id"] for entry in answer["Failed"]]
    assert sorted(failed + [entry["Id"] for entry in answer["Successful"]]) == TEN
    assert {(entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]} == {("ServiceUnavailable", False)}
    await chaos(sqs)
    await sqs("SendMessageBatch", QueueUrl=url, Entries=[entries[int(number)] for number in failed])
    assert sorted(bodies(await sqs.receive(url, MaxNumberOfMessages=10))) == TEN


async def test_batch_failures_of_fifo_queues_deletes_and_visibility(sqs: Sqs) -> None:
    """Batches of all kinds may fail, down to the last entry."""
    url = await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageGroupId="g")
    [message] = await sqs.receive(url)
    await chaos(sqs, batch_failures=1)
    entry = {"Id": "a", "ReceiptHandle": message["ReceiptHandle"]}
    for action, members in (
        ("SendMessageBatch", {"Id": "a", "MessageBody": "y", "MessageGroupId": "g"}),
        ("ChangeMessageVisibilityBatch", entry | {"VisibilityTimeout": 0}),
        ("DeleteMessageBatch", entry),
    ):
        assert list(await sqs(action, QueueUrl=url, Entries=[members])) == ["Failed"]
    assert await sqs.counts(url) == (0, 1, 0)


@pytest.mark.parametrize(
    ("kind", "error", "stored"),
    [
        ("throttling", (403, "RequestThrottled"), 0),
        ("unavailable", (503, "ServiceUnavailable"), 0),
        ("lost_answers", (503, "ServiceUnavailable"), 1),
    ],
)
async def test_refusals(sqs: Sqs, kind: str, error: tuple[int, str], stored: int) -> None:
    """A request is refused with nothing done, or is done and answered as if it were not; other actions go on."""
    url = await sqs.create()
    await chaos(sqs, actions=["SendMessage"], **{kind: 1})
    assert (await sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")).error[:2] == error
    async with sqs.session.get(f"{sqs.url}/?Action=SendMessage&QueueUrl={url}&MessageBody=x") as response:
        assert response.status == error[0]
        assert f"<Code>{error[1]}</Code>" in await response.text()
    assert await sqs.counts(url) == (2 * stored, 0, 0)


async def test_delays(sqs: Sqs) -> None:
    """Requests take up to the longest delay."""
    await chaos(sqs, delays=1, longest_delay=0.2)
    begun = time.monotonic()
    for _ in range(4):
        await sqs("ListQueues")
    assert time.monotonic() - begun > 0.1


async def refused(sqs: Sqs, account: str = ANOTHER) -> list[bool]:
    """Tell which of 40 requests of an account are refused."""
    return [(await ask(sqs, "us-east-1", account, "ListQueues")).status != 200 for _ in range(40)]


async def test_a_seed_tells_what_happens(sqs: Sqs) -> None:
    """The same requests meet the same with the same seed, whatever else goes wrong beside it, and other with another."""
    seen = []
    for more in ({}, {"delays": 0.5, "longest_delay": 0}, {"seed": 2}):
        await chaos(sqs, account=ANOTHER, **{"seed": 1, "throttling": 0.5} | more)
        seen.append(await refused(sqs))
    assert seen[0] == seen[1] != seen[2]
    assert 0 < sum(seen[0]) < 40


async def test_kinds_do_not_strike_together(sqs: Sqs) -> None:
    """The requests that one kind strikes are not those that another does."""
    seen = []
    for kind in ("throttling", "unavailable"):
        await chaos(sqs, account=ANOTHER, seed=1, **{kind: 0.5})
        seen.append(await refused(sqs))
    assert seen[0] != seen[1]


async def test_accounts_are_apart(sqs: Sqs) -> None:
    """The chaos of an account is nobody else's, and ends without a trace when that of the last one does."""
    await chaos(sqs, account=ANOTHER, throttling=1)
    await chaos(sqs, throttling=1)
    assert all(await refused(sqs))
    await chaos(sqs)
    assert not any(await refused(sqs, "444455556666"))
    assert (await sqs.ask("ListQueues")).status == 200
    assert all(await refused(sqs))
    await chaos(sqs, account=ANOTHER, seed=1)
    assert not any(await refused(sqs))


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"throttling": 1.5}, "throttling"),
        ({"duplicates": -1}, "duplicates"),
        ({"explosions": 1}, "explosions"),
        ({"account": "me"}, "account"),
        ({"actions": ["SendMail"]}, "actions"),
    ],
)
async def test_what_is_no_chaos(sqs: Sqs, members: dict[str, Any], wrong: str) -> None:
    """What questd does not know is refused by its name."""
    async with sqs.session.post(f"{sqs.url}/_questd/chaos", json=members) as response:
        assert response.status == 400
        assert wrong in await response.text()


@pytest.mark.parametrize(
    ("settings", "method", "status"),
    [({"test_mode": False}, "POST", 404), ({"workers": 2}, "POST", 409), ({"workers": 1}, "GET", 405)],
)
async def test_chaos_is_for_tests_only(
    redis_server: RedisServer, settings: dict[str, Any], method: str, status: int
) -> None:
    """Chaos is unknown outside test mode, refused where other workers would not know of it, and asked for by a POST."""
    async with (
        serving(redis_server.url, **settings) as sqs,
        sqs.session.request(method, f"{sqs.url}/_questd/chaos", json={}) as response,
    ):
        assert response.status == status
