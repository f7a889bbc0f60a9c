"""questd's own actions over HTTP: what they show and change, whose rights they need, and what is wrong with a request."""

import json
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from questd import extensions
from questd.actions import ACTIONS
from questd.policies import GRANTABLE
from tests.client import JSON, Reply, Sqs, serving
from tests.servers import RedisServer

SECRET = "a secret of some length"


async def ask(sqs: Sqs, action: str, **members: Any) -> Reply:
    """Ask for one of questd's own actions."""
    headers = {**JSON, "X-Amz-Target": f"Questd.{action}"}
    return await sqs.post(json.dumps(members).encode(), headers)


async def told(sqs: Sqs, action: str, **members: Any) -> dict[str, Any]:
    """Return the answer to one of questd's own actions, which must succeed."""
    reply = await ask(sqs, action, **members)
    assert reply.status == 200, reply.body
    return reply.json


async def test_a_peek_shows_messages_and_leaves_them(sqs: Sqs) -> None:
    """Messages are shown with state, sequence and attributes, without a receipt handle, and are there as before."""
    url = await sqs.create()
    await sqs.fill(url, "ab")
    [received] = await sqs.receive(url)
    await sqs("SendMessage", QueueUrl=url, MessageBody="c", DelaySeconds=60)
    page = await told(sqs, "PeekMessages", QueueUrl=url)
    assert [(one["Body"], one["State"]) for one in page["Messages"]] == [
        ("a", "inflight"),
        ("b", "visible"),
        ("c", "delayed"),
    ]
    assert page.keys() == {"Messages", "LookedAt"}
    first, second, third = page["Messages"]
    assert (first["MessageId"], first["Attributes"]["ApproximateReceiveCount"]) == (received["MessageId"], "1")
    assert (first["Sequence"] < second["Sequence"], "Until" in second, "ReceiptHandle" in first) == (True, False, False)
    assert 0 < third["Until"] - int(third["Attributes"]["SentTimestamp"]) <= 60_000
    assert await sqs.counts(url) == (1, 1, 1)


async def test_a_peek_is_narrowed_and_goes_on(sqs: Sqs) -> None:
    """States and a text choose messages; After is where the next page begins."""
    url = await sqs.create()
    await sqs.fill(url, ["one", "two", "three", "four"])
    await sqs.receive(url)
    page = await told(sqs, "PeekMessages", QueueUrl=url, Contains="o", States=["visible"], MaxNumberOfMessages=1)
    assert [one["Body"] for one in page["Messages"]] == ["two"]
    page = await told(sqs, "PeekMessages", QueueUrl=url, Contains="o", States=["visible"], After=page["After"])
    assert [one["Body"] for one in page["Messages"]] == ["four"]
    assert "After" not in page


async def test_drops(sqs: Sqs) -> None:
    """What was peeked at is dropped, in flight too, and counted once."""
    url = await sqs.create()
    await sqs.fill(url, "abc")
    await sqs.receive(url)
    messages = (await told(sqs, "PeekMessages", QueueUrl=url))["Messages"][:2]
    assert await told(sqs, "DropMessages", QueueUrl=url, Messages=messages) == {"Dropped": 2}
    assert await told(sqs, "DropMessages", QueueUrl=url, Messages=messages) == {"Dropped": 0}
    assert await sqs.counts(url) == (1, 0, 0)


async def test_pause_and_resume(sqs: Sqs) -> None:
    """A paused queue hands nothing out until it is resumed; both say whether that changed anything."""
    url = await sqs.create()
    await sqs.fill(url, "a")
    assert await told(sqs, "PauseQueue", QueueUrl=url) == {"Changed": True}
    assert await told(sqs, "PauseQueue", QueueUrl=url) == {"Changed": False}
    assert (await told(sqs, "GetQueueFigures", QueueUrl=url))["Paused"]
    assert await sqs.receive(url) == []
    assert await told(sqs, "ResumeQueue", QueueUrl=url) == {"Changed": True}
    assert len(await sqs.receive(url)) == 1


async def test_figures(sqs: Sqs) -> None:
    """Figures are counts, the oldest message's age in ms, and the sequence behind which new messages come."""
    url = await sqs.create()
    empty = await told(sqs, "GetQueueFigures", QueueUrl=url)
    assert (empty["Visible"], empty["AgeOfOldestMessage"], empty["LatestSequence"]) == (0, 0, 0)
    await sqs.fill(url, "ab")
    await sqs.receive(url)
    await sqs("SendMessage", QueueUrl=url, MessageBody="c", DelaySeconds=60)
    await sqs.advance(5)
    found = await told(sqs, "GetQueueFigures", QueueUrl=url)
    assert [found[name] for name in ("Visible", "InFlight", "Delayed", "Waiting", "Paused")] == [1, 1, 1, 0, False]
    assert 5000 <= found["AgeOfOldestMessage"] < 10_000
    last = (await told(sqs, "PeekMessages", QueueUrl=url))["Messages"][-1]["Sequence"]
    assert found["LatestSequence"] == last


@pytest.mark.parametrize(
    ("action", "members", "kind", "says"),
    [
        ("PeekMessages", {"QueueUrl": "none"}, "QueueDoesNotExist", "does not exist"),
        ("GetQueueFigures", {}, "QueueDoesNotExist", "does not exist"),
        ("PeekMessages", {"QueueUrl": "q", "States": ["hidden"]}, "InvalidParameterValueException", "Must be visible"),
        (
            "PeekMessages",
            {"QueueUrl": "q", "MaxNumberOfMessages": 1001},
            "InvalidParameterValueException",
            "1 and 1000",
        ),
        ("PeekMessages", {"QueueUrl": "q", "After": -1}, "InvalidParameterValueException", "a sequence"),
        ("DropMessages", {"QueueUrl": "q"}, "MissingRequiredParameterException", "Messages"),
        ("DropMessages", {"QueueUrl": "q", "Messages": []}, "InvalidParameterValueException", "1 and 500"),
        (
            "DropMessages",
            {"QueueUrl": "q", "Messages": [{"Sequence": 1, "MessageId": "x"}]},
            "InvalidParameterValueException",
            "a message's",
        ),
        ("SendMessage", {"QueueUrl": "q", "MessageBody": "x"}, "UnknownOperationException", ""),
    ],
)
async def test_wrong_requests(sqs: Sqs, action: str, members: dict[str, Any], kind: str, says: str) -> None:
    """What is wrong with a request is answered as with AWS's own actions; those are not found under this prefix."""
    await sqs.create()
    reply = await ask(sqs, action, **members)
    assert (reply.status, reply.json["__type"].partition("#")[2]) == (400, kind)
    assert says in reply.json.get("message", "")


async def test_awss_prefix_has_none_of_them(sqs: Sqs) -> None:
    """AWS's own prefix knows only AWS's own actions."""
    url = await sqs.create()
    for action in extensions.ACTIONS:
        assert (await sqs.ask(action, QueueUrl=url)).status == 400
    assert not extensions.ACTIONS.keys() & ACTIONS.keys()


def test_each_needs_a_right_that_keys_and_policies_know() -> None:
    """Each names the AWS action whose right it needs."""
    rights = {name: action.needs for name, action in extensions.ACTIONS.items()}
    assert set(rights.values()) <= ACTIONS.keys()
    shared = {name for name, right in rights.items() if right in GRANTABLE}
    assert shared == {"PeekMessages", "DropMessages", "GetQueueFigures"}


@pytest.mark.parametrize("front", ["listener", "aiohttp"])
async def test_rights(redis_server: RedisServer, tmp_path: Any, front: str) -> None:
    """With access keys a request must be signed, by a key with the AWS right; a policy's denial holds too."""
    file = tmp_path / "keys.toml"
    file.write_text(
        f'[ALL]\nsecret = "{SECRET}"\n[SENDER]\nsecret = "{SECRET}"\nallow = ["*:SendMessage"]\n'
        f'[READER]\nsecret = "{SECRET}"\nallow = ["*:ReceiveMessage,GetQueueAttributes"]\n'
    )
    file.chmod(0o600)
    async with serving(redis_server.url, front=front, keys_file=file) as sqs:

        async def status(key: str, target: str, **members: Any) -> int:
            request = AWSRequest(
                "POST", f"{sqs.url}/", headers={**JSON, "X-Amz-Target": target}, data=json.dumps(members).encode()
            )
            if key:
                SigV4Auth(Credentials(key, SECRET), "sqs", "us-east-1").add_auth(request)
            return (await sqs.post(request.data, dict(request.headers.items()))).status

        await status("ALL", "AmazonSQS.CreateQueue", QueueName="q")
        assert await status("", "Questd.PeekMessages", QueueUrl="q") == 403
        assert await status("SENDER", "Questd.PeekMessages", QueueUrl="q") == 403
        assert await status("READER", "Questd.PeekMessages", QueueUrl="q") == 200
        assert await status("READER", "Questd.GetQueueFigures", QueueUrl="q") == 200
        assert await status("READER", "Questd.PauseQueue", QueueUrl="q") == 403
        message = {"Sequence": 1, "MessageId": "0" * 32}
        assert await status("READER", "Questd.DropMessages", QueueUrl="q", Messages=[message]) == 403
        assert await status("ALL", "Questd.PauseQueue", QueueUrl="q") == 200
        denial = {"Effect": "Deny", "Principal": "*", "Action": "sqs:ReceiveMessage", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [denial]})
        await status("ALL", "AmazonSQS.SetQueueAttributes", QueueUrl="q", Attributes={"Policy": policy})
        assert await status("ALL", "Questd.PeekMessages", QueueUrl="q") == 403
