"""Who may do what: access keys and their rights, queue policies, and how both are told (contract 9.1, 10.2)."""

import asyncio
import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
import yarl
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from questd import access, errors
from questd.access import Access, Key, Principal, Resource, keys_of, why_not
from questd.action import Questd
from questd.messages import DeleteMessage, SendMessage
from questd.queues import CreateQueue
from questd.request import Request
from questd.settings import BadSetting, Settings
from tests.boto import client_of
from tests.client import Sqs, serving
from tests.servers import RedisServer

OWN, OTHER = "000000000000", "111122223333"
ARN = f"arn:aws:sqs:us-east-1:{OWN}:orders-eu"
SECRET = "a secret of some length"


def key(**members: Any) -> Key:
    """Return a key."""
    return Key(secret=SECRET, **members)


def keys_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file of keys."""
    file = folder / "keys.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


FILE = f"""
[OWNER]
secret = "{SECRET} 0"

[SENDER]
secret = "{SECRET} 1"
allow = ["orders-*:SendMessage,GetQueueUrl"]

[STRANGER]
secret = "{SECRET} 2"
account = "{OTHER}"
"""


# Keys


def test_keys_come_from_a_file_and_from_a_list(tmp_path: Path) -> None:
    """A file has a table for each key; a list has ids and secrets, which have all rights."""
    keys = keys_of(keys_file(tmp_path, FILE), f"MORE:{SECRET}:with:colons, LAST:{SECRET}")
    assert sorted(keys) == ["LAST", "MORE", "OWNER", "SENDER", "STRANGER"]
    assert keys["MORE"].secret == f"{SECRET}:with:colons"
    assert keys["STRANGER"].account == OTHER
    assert SECRET not in repr(keys)
    assert keys_of(None, None) == {}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    """Secrets that others can read are refused, with what to do."""
    with pytest.raises(BadSetting, match="chmod 600"):
        keys_of(keys_file(tmp_path, FILE, mode), None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    """Whose file it is can write keys of his own into it: that is questd's own user or root, also behind a link."""
    file = keys_file(tmp_path, FILE)
    (tmp_path / "link").symlink_to(file)
    assert keys_of(tmp_path / "link", None)
    os.chown(file, 12345, -1)
    for path in (file, tmp_path / "link"):
        with pytest.raises(BadSetting, match="belongs to another user"):
            keys_of(path, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[A]", "A.secret: Field required"),
        ('[A]\nsecret = "short"', "A.secret: String should have at least 8"),
        (f'[A]\nsecret = "{SECRET}"\naccount = "1"', "A.account"),
        (f'[A]\nsecret = "{SECRET}"\nallow = ["*:Sned"]', "should be like orders-"),
        (f'[A]\nsecret = "{SECRET}"\nrights = []', "A.rights: Extra inputs"),
        ("[A", "keys.toml: "),
        ("A = 1", "A: Input should be"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, says: str) -> None:
    """What is wrong is told with its place, and without a secret."""
    with pytest.raises(BadSetting, match=says) as caught:
        keys_of(keys_file(tmp_path, text), None)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("listed", ["A", "A:short", ":longer than eight", f"A:{SECRET},"])
def test_a_list_that_is_none(listed: str) -> None:
    """A pair without an id or with a short secret is refused by its number, and the settings that it is in."""
    with pytest.raises(BadSetting, match=r"^key [12] of --keys \(QUESTD_KEYS\) "):
        keys_of(None, listed)


@pytest.mark.parametrize(
    ("allow", "action", "queue", "may"),
    [
        (["*:*"], "PurgeQueue", "any", True),
        (["*:*"], "ListQueues", "", True),
        (["orders-*:SendMessage"], "SendMessage", "orders-eu", True),
        (["orders-*:SendMessage"], "SendMessageBatch", "orders-eu", True),
        (["orders-*:SendMessage"], "ReceiveMessage", "orders-eu", False),
        (["orders-*:SendMessage"], "SendMessage", "mail", False),
        (["orders-*:*"], "ListQueues", "", False),
        (["orders-??:*"], "PurgeQueue", "orders-eu", True),
        (["orders-?:*"], "PurgeQueue", "orders-eu", False),
        (["a:SendMessage", "b:ReceiveMessage,DeleteMessage"], "DeleteMessageBatch", "b", True),
        ([], "SendMessage", "a", False),
    ],
)
def test_rights(allow: list[str], action: str, queue: str, *, may: bool) -> None:
    """A right is a pattern of names and a list of actions; a batch goes by the name of one message."""
    assert key(allow=allow).may(action, queue) == may


# Decisions


def policy(*statements: dict[str, Any]) -> str:
    """Return a policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def statement(**members: Any) -> dict[str, Any]:
    """Return a statement that lets everybody send."""
    return {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"} | members


OWNER, SENDER, STRANGER, ANYBODY = (
    Principal(OWN, "owner", key()),
    Principal(OWN, "sender", key(allow=["orders-*:SendMessage"])),
    Principal(OTHER, "stranger", key()),
    Principal(),
)
USER = f"arn:aws:iam::{OTHER}:user/stranger"


@pytest.mark.parametrize(
    ("principal", "action", "given", "may"),
    [
        (OWNER, "PurgeQueue", "", True),
        (OWNER, "PurgeQueue", policy(statement(Effect="Deny", Action="*")), False),
        (OWNER, "SendMessage", policy(statement(Effect="Deny", Action="sqs:PurgeQueue")), True),
        (OWNER, "SendMessage", policy(statement(), statement(Effect="Deny")), False),
        (SENDER, "SendMessageBatch", "", True),
        (SENDER, "ReceiveMessage", "", False),
        (SENDER, "ReceiveMessage", policy(statement(Action="SQS:receivemessage")), True),
        (STRANGER, "SendMessage", "", False),
        (STRANGER, "SendMessage", policy(statement()), True),
        (STRANGER, "SendMessageBatch", policy(statement()), True),
        (STRANGER, "ReceiveMessage", policy(statement()), False),
        (STRANGER, "ReceiveMessage", policy(statement(Action="sqs:Receive*")), True),
        (STRANGER, "DeleteQueue", policy(statement(Action="*")), False),
        (STRANGER, "SendMessage", policy(statement(Principal={"AWS": OTHER})), True),
        (STRANGER, "SendMessage", policy(statement(Principal={"AWS": [OWN, f"arn:aws:iam::{OTHER}:root"]})), True),
        (STRANGER, "SendMessage", policy(statement(Principal={"AWS": USER})), True),
        (STRANGER, "SendMessage", policy(statement(Principal={"AWS": USER.replace("aws", "aws-us-gov")})), True),
        (
            OWNER,
            "SendMessage",
            policy(statement(Effect="Deny", Principal={"AWS": f"arn:aws-cn:iam::{OWN}:root"})),
            False,
        ),
        (STRANGER, "SendMessage", policy(statement(Principal={"AWS": f"{USER}2"})), False),
        (STRANGER, "SendMessage", policy(statement(Principal={"Service": "sns.amazonaws.com"})), False),
        (STRANGER, "SendMessage", policy(statement(Resource=ARN)), True),
        (STRANGER, "SendMessage", policy(statement(Resource="arn:aws:sqs:*:*:orders-*")), True),
        (STRANGER, "SendMessage", policy(statement(Resource="arn:aws:sqs:*:*:mail")), False),
        (STRANGER, "SendMessage", policy(statement(Condition={"Bool": {"aws:SecureTransport": "true"}})), False),
        (OWNER, "SendMessage", policy(statement(Effect="Deny", Condition={"Bool": {"a": "b"}})), False),
        (
            STRANGER,
            "SendMessage",
            policy({"Effect": "Allow", "NotPrincipal": {"AWS": OWN}, "NotAction": "sqs:PurgeQueue"}),
            True,
        ),
        (
            STRANGER,
            "SendMessage",
            policy({"Effect": "Allow", "NotPrincipal": {"AWS": OTHER}, "Action": "sqs:*"}),
            False,
        ),
        (
            OWNER,
            "SendMessage",
            policy({"Effect": "Deny", "Principal": "*", "Action": "*", "NotResource": ARN}),
            True,
        ),
        (ANYBODY, "SendMessage", "", False),
        (ANYBODY, "SendMessage", policy(statement()), True),
        (ANYBODY, "SendMessage", policy(statement(Principal={"AWS": "*"})), True),
        (ANYBODY, "SendMessage", policy(statement(Principal={"AWS": OWN})), False),
        (ANYBODY, "SetQueueAttributes", policy(statement(Action="*")), False),
    ],
)
def test_decisions(principal: Principal, action: str, given: str, *, may: bool) -> None:
    """A denial beats everything; in the own account a right or the policy is enough; others need the policy."""
    assert (why_not(principal, action, Resource("orders-eu", OWN, ARN, given)) is None) == may


def test_a_stranger_needs_a_right_of_his_key_too() -> None:
    """What a queue's policy offers is for keys that may have it."""
    limited = Principal(OTHER, "limited", key(allow=["mail:*"]))
    assert why_not(limited, "SendMessage", Resource("orders-eu", OWN, ARN, policy(statement())))


# Over HTTP


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Return settings with three keys."""
    return {"keys_file": keys_file(tmp_path, FILE)}


def client(sqs: Sqs, name: str, number: int, **more: Any) -> Any:
    """Return a boto3 client with a key."""
    return client_of(sqs.url, name, f"{SECRET} {number}", config=Config(retries={"max_attempts": 1}), **more)


async def _in_thread(work: Any, *arguments: Any, **members: Any) -> Any:
    return await asyncio.to_thread(work, *arguments, **members)


async def refused(work: Any, **members: Any) -> tuple[int, str, str]:
    """Return status, code and text of what a client is refused."""
    with pytest.raises(ClientError) as caught:
        await _in_thread(work, **members)
    error = caught.value.response["Error"]
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error["Message"]


@pytest.mark.parametrize("front", ["listener", "aiohttp"])
async def test_a_client_with_a_right_key(redis_server: RedisServer, settings: dict[str, Any], front: str) -> None:
    """boto3 works unchanged, and who sent a message is told."""
    async with serving(redis_server.url, front=front, **settings) as sqs:
        owner = client(sqs, "OWNER", 0)
        url = (await _in_thread(owner.create_queue, QueueName="orders-eu"))["QueueUrl"]
        await _in_thread(owner.send_message, QueueUrl=url, MessageBody="x")
        got = await _in_thread(owner.receive_message, QueueUrl=url, AttributeNames=["SenderId"])
        assert got["Messages"][0]["Attributes"]["SenderId"] == "OWNER"
        assert (await _in_thread(owner.list_queues))["QueueUrls"] == [url]


async def test_clients_without(redis_server: RedisServer, settings: dict[str, Any]) -> None:
    """No key, an unknown one, a wrong secret, too few rights, another account: each gets AWS's error."""
    async with serving(redis_server.url, **settings) as sqs:
        url = (await _in_thread(client(sqs, "OWNER", 0).create_queue, QueueName="orders-eu"))["QueueUrl"]
        reply = await sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")
        assert (reply.status, reply.headers["x-amzn-query-error"]) == (403, "AccessDenied;Sender")
        assert reply.json == {
            "__type": "com.amazon.coral.service#AccessDeniedException",
            "Message": f"Access to the resource {url} is denied.",
        }
        send = {"QueueUrl": url, "MessageBody": "x"}
        assert (await refused(client(sqs, "NOBODY", 0).send_message, **send))[:2] == (403, "InvalidClientTokenId")
        assert (await refused(client(sqs, "OWNER", 9).send_message, **send))[:2] == (403, "SignatureDoesNotMatch")
        sender = client(sqs, "SENDER", 1)
        await _in_thread(sender.send_message, **send)
        assert await refused(sender.receive_message, QueueUrl=url) == (
            403,
            "AccessDenied",
            (
                f"User: arn:aws:iam::{OWN}:user/SENDER is not authorized to perform: sqs:receivemessage on resource: "
                f"{ARN} because no identity-based policy allows the sqs:receivemessage action"
            ),
        )
        assert (await refused(sender.list_queues))[1] == "AccessDenied"
        stranger = client(sqs, "STRANGER", 2)
        assert (await refused(stranger.send_message, **send))[1] == "AccessDenied"
        assert (await refused(stranger.create_queue, QueueName="mine"))[1] == "AccessDenied"
        assert await sqs_count(client(sqs, "OWNER", 0), url) == "1"


async def sqs_count(owner: Any, url: str) -> str:
    """Return how many messages are visible."""
    name = "ApproximateNumberOfMessages"
    found = await _in_thread(owner.get_queue_attributes, QueueUrl=url, AttributeNames=[name])
    count: str = found["Attributes"][name]
    return count


async def test_permissions_open_a_queue(redis_server: RedisServer, settings: dict[str, Any]) -> None:
    """AddPermission lets an account in, RemovePermission shuts it out again; a policy for all lets anybody in."""
    async with serving(redis_server.url, **settings) as sqs:
        owner, stranger = client(sqs, "OWNER", 0), client(sqs, "STRANGER", 2)
        url = (await _in_thread(owner.create_queue, QueueName="orders-eu"))["QueueUrl"]
        permission = {"QueueUrl": url, "Label": "l", "AWSAccountIds": [OTHER], "Actions": ["SendMessage"]}
        await _in_thread(owner.add_permission, **permission)
        await _in_thread(stranger.send_message, QueueUrl=url, MessageBody="x")
        assert (await refused(stranger.receive_message, QueueUrl=url))[2].endswith(
            "because no resource-based policy allows the sqs:receivemessage action"
        )
        await _in_thread(owner.remove_permission, QueueUrl=url, Label="l")
        assert (await refused(stranger.send_message, QueueUrl=url, MessageBody="x"))[1] == "AccessDenied"
        for_all = {"Policy": policy(statement(Action="sqs:*"))}
        await _in_thread(owner.set_queue_attributes, QueueUrl=url, Attributes=for_all)
        assert (await sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")).status == 200
        async with sqs.session.get(f"{url}?Action=ReceiveMessage") as response:
            assert "<Body>x</Body>" in await response.text()
        assert (await sqs.ask("PurgeQueue", QueueUrl=url)).status == 200
        assert (await sqs.ask("DeleteQueue", QueueUrl=url)).status == 403


async def test_a_policy_that_another_worker_changed(
    redis_server: RedisServer, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process grants and takes back counts at the others too, also when nobody else asks them for the queue."""
    monkeypatch.setattr(access, "FRESH_SECONDS", 0.0)
    async with serving(redis_server.url, **settings) as here, serving(redis_server.url, **settings) as there:
        owner, stranger = client(here, "OWNER", 0), client(there, "STRANGER", 2)
        url = (await _in_thread(owner.create_queue, QueueName="orders-eu"))["QueueUrl"]
        assert (await refused(stranger.purge_queue, QueueUrl=url))[1] == "AccessDenied"
        permission = {"QueueUrl": url, "Label": "l", "AWSAccountIds": [OTHER], "Actions": ["PurgeQueue"]}
        await _in_thread(owner.add_permission, **permission)
        await _in_thread(stranger.purge_queue, QueueUrl=url)
        await _in_thread(owner.remove_permission, QueueUrl=url, Label="l")
        assert (await refused(stranger.purge_queue, QueueUrl=url))[1] == "AccessDenied"


async def test_the_url_of_another_accounts_queue(redis_server: RedisServer, settings: dict[str, Any]) -> None:
    """Whether another account has a queue is told to whom its policy lets in, also where names are the same."""
    async with serving(redis_server.url, multi_region=True, **settings) as sqs:
        owner, stranger = client(sqs, "OWNER", 0), client(sqs, "STRANGER", 2)
        for each in (owner, stranger):
            await _in_thread(each.create_queue, QueueName="orders-eu")
        url = f"{sqs.url}/{OTHER}/orders-eu"
        wanted = {"QueueName": "orders-eu", "QueueOwnerAWSAccountId": OTHER}
        assert (await refused(owner.get_queue_url, **wanted))[1] == "AccessDenied"
        permission = {"QueueUrl": url, "Label": "l", "AWSAccountIds": [OWN], "Actions": ["GetQueueUrl"]}
        await _in_thread(stranger.add_permission, **permission)
        assert (await _in_thread(owner.get_queue_url, **wanted))["QueueUrl"] == url


async def test_a_presigned_url(redis_server: RedisServer, settings: dict[str, Any]) -> None:
    """A URL that a key has signed can be used without the key."""
    async with serving(redis_server.url, **settings) as sqs:
        url = (await _in_thread(client(sqs, "OWNER", 0).create_queue, QueueName="orders-eu"))["QueueUrl"]
        good, _ = _presigned(f"{url}?Action=SendMessage&MessageBody=a%20b", method="GET")
        async with sqs.session.get(good) as response:
            assert response.status == 200, await response.text()
        async with sqs.session.get(yarl.URL(str(good).replace("a%20b", "b"), encoded=True)) as response:
            assert "<Code>SignatureDoesNotMatch</Code>" in await response.text()


class _Presigner(SigV4QueryAuth):  # type: ignore[misc]  # botocore has no types
    """Signs a body too, which botocore's own would move into the URL."""

    def __init__(self, body: bytes) -> None:
        super().__init__(Credentials("OWNER", f"{SECRET} 0"), "sqs", "us-east-1")
        self._digest = hashlib.sha256(body).hexdigest()

    def payload(self, _request: AWSRequest) -> str:
        """Return the digest of the body."""
        return self._digest


def _presigned(url: str, body: bytes = b"", **request: Any) -> tuple[yarl.URL, dict[str, str]]:
    """Return the URL that the owner has signed, good for an hour, and the headers to go with it."""
    made = AWSRequest(url=url, **request)
    _Presigner(body).add_auth(made)
    return yarl.URL(str(made.url), encoded=True), dict(made.headers)


async def test_a_presigned_url_of_the_json_protocol(redis_server: RedisServer, settings: dict[str, Any]) -> None:
    """A URL can be signed for a request in JSON too, with its body and its action."""
    async with serving(redis_server.url, **settings) as sqs:
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ListQueues"}
        url, signed = _presigned(f"{sqs.url}/", method="POST", headers=headers, body=b"{}")
        for body, status in ((b"{}", 200), (b'{"MaxResults":1}', 403)):
            async with sqs.session.post(url, headers=signed, data=body) as response:
                assert response.status == status, await response.text()
        other = signed | {"X-Amz-Target": "AmazonSQS.CreateQueue"}
        async with sqs.session.post(url, headers=other, data=b"{}") as response:
            assert (await response.json(content_type=None))["__type"].endswith("#InvalidSignatureException")


@pytest.mark.parametrize(
    ("minutes", "says"), [(-16, "Signature expired: "), (16, "Signature not yet current: "), (-14, None), (14, None)]
)
async def test_a_client_whose_clock_is_wrong(
    redis_server: RedisServer,
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    says: str | None,
) -> None:
    """What boto3 signed more than a quarter of an hour ago, or will have, gets AWS's error; less does no harm."""
    then = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: then.replace(tzinfo=None))
    async with serving(redis_server.url, **settings) as sqs:
        owner = client(sqs, "OWNER", 0)
        if says is None:
            await _in_thread(owner.list_queues)
            return
        status, code, text = await refused(owner.list_queues)
        assert (status, code) == (403, "SignatureDoesNotMatch")
        assert text.startswith(says)


async def test_a_request_altered_on_its_way(redis_server: RedisServer, settings: dict[str, Any]) -> None:
    """What somebody has changed since boto3 signed it, body, action or path, does nothing."""
    async with serving(redis_server.url, **settings) as sqs:
        url = (await _in_thread(client(sqs, "OWNER", 0).create_queue, QueueName="orders-eu"))["QueueUrl"]

        def body(request: Any, **_: Any) -> None:
            request.body = request.body.replace(b"two", b"ten")

        def action(request: Any, **_: Any) -> None:
            request.headers["X-Amz-Target"] = "AmazonSQS.DeleteQueue"

        def path(request: Any, **_: Any) -> None:
            request.url += "other"

        for alter in (body, action, path):
            owner = client(sqs, "OWNER", 0)
            owner.meta.events.register("before-send.sqs", alter)
            text = (await refused(owner.send_message, QueueUrl=url, MessageBody="two"))[1:]
            assert text[0] == "SignatureDoesNotMatch"
        assert await sqs_count(client(sqs, "OWNER", 0), url) == "0"


async def test_move_tasks_need_both_queues(redis_server: RedisServer, tmp_path: Path) -> None:
    """Who starts a move task must be allowed to send to its destination."""
    text = FILE + f'\n[MOVER]\nsecret = "{SECRET} 3"\nallow = ["dead:*"]\n'
    async with serving(redis_server.url, keys_file=keys_file(tmp_path, text)) as sqs:
        owner, mover = client(sqs, "OWNER", 0), client(sqs, "MOVER", 3)
        for name in ("dead", "other"):
            await _in_thread(owner.create_queue, QueueName=name)
        base = f"arn:aws:sqs:us-east-1:{OWN}"
        redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{base}:dead", "maxReceiveCount": 1})}
        await _in_thread(owner.create_queue, QueueName="q", Attributes=redrive)
        task = {"SourceArn": f"{base}:dead", "DestinationArn": f"{base}:other"}
        assert (await refused(mover.start_message_move_task, **task))[1] == "AccessDenied"
        await _in_thread(mover.start_message_move_task, SourceArn=f"{base}:dead")
        await _in_thread(mover.list_message_move_tasks, SourceArn=f"{base}:dead")
        assert (await refused(mover.list_message_move_tasks, SourceArn=f"{base}:q"))[1] == "AccessDenied"


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Settings print no secret."""
    shown = repr(Settings(keys=f"A:{SECRET}", keys_file=keys_file(tmp_path, FILE)))
    assert SECRET not in shown


async def test_judged_at_once(questd: Questd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting a queue is judged by a fresh policy only, by the same rules; one that is not known never is."""
    await CreateQueue(QueueName="orders")(questd, Request("POST", "/", {}, b"", namespace=questd.home))
    gate = Access({"SENDER": Key(secret="s" * 8, allow=["orders:SendMessage"])}, questd.settings.account)
    request = Request("POST", "/", {}, b"", namespace=questd.home)
    request.principal = "SENDER"
    send = SendMessage(QueueUrl="orders", MessageBody=b"x")
    await questd.facts_of("orders")
    assert not gate.check_at_once(questd, request, send)  # its policy was never asked for
    await gate.check(questd, request, send)
    assert gate.check_at_once(questd, request, send)
    with pytest.raises(errors.AccessDenied):
        gate.check_at_once(questd, request, DeleteMessage(QueueUrl="orders", ReceiptHandle="x"))
    with monkeypatch.context() as later:
        later.setattr(access, "FRESH_SECONDS", 0.0)
        assert not gate.check_at_once(questd, request, send)
    assert gate.check_at_once(questd, request, send)
    questd.facts.clear()
    assert not gate.check_at_once(questd, request, send)
