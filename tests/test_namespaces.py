"""Regions and accounts: queues of each kept apart with --multi-region (contract 1.4), and one namespace without."""

import json
from typing import Any

import pytest

from questd.namespaces import Namespace, arn, name_of, of_request, parts
from tests.client import JSON, Reply, Sqs, serving
from tests.servers import RedisServer

HOME = Namespace("us-east-1", "000000000000", ("us-east-1", "000000000000"))
SIGNED = "AWS4-HMAC-SHA256 Credential={}/20260101/{}/sqs/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    ("headers", "target", "expected"),
    [
        ({}, "/", ("us-east-1", "000000000000")),
        ({"authorization": SIGNED.format("AKID", "eu-west-1")}, "/", ("eu-west-1", "000000000000")),
        ({"authorization": SIGNED.format("111122223333", "eu-west-1")}, "/", ("eu-west-1", "111122223333")),
        ({"authorization": SIGNED.format("1111222233334", "eu-west-1")}, "/", ("eu-west-1", "000000000000")),
        ({"authorization": "Bearer x"}, "/", ("us-east-1", "000000000000")),
        ({"host": "sqs.eu-north-1.localhost:9324"}, "/", ("eu-north-1", "000000000000")),
        ({"host": "eu-north-1.queue.amazonaws.com"}, "/", ("eu-north-1", "000000000000")),
        ({"host": "SQS.EU-North-1.Localhost"}, "/", ("eu-north-1", "000000000000")),
        ({"host": "sqs.us-gov-west-1.amazonaws.com"}, "/", ("us-gov-west-1", "000000000000")),
        ({"host": "localhost:9324"}, "/", ("us-east-1", "000000000000")),
        ({"host": "sqs.example.com"}, "/", ("us-east-1", "000000000000")),
        ({"host": "jobs.queue.example.com"}, "/", ("us-east-1", "000000000000")),
        (
            {"host": "sqs.eu-north-1.localhost"},
            "/?X-Amz-Credential=AKID%2F20260101%2Fsa-east-1%2Fsqs%2Faws4_request&X-Amz-Date=x",
            ("us-east-1", "000000000000"),
        ),
    ],
)
def test_namespace_of_a_request(headers: dict[str, str], target: str, expected: tuple[str, str]) -> None:
    """The signature says region and, by an access key that is an account, the account; else the host says the region."""
    if "X-Amz-Credential" in target:
        expected = ("sa-east-1", expected[1])
    assert of_request(HOME, headers, target)[:2] == expected
    assert of_request(HOME._replace(home=None), headers, target)[:2] == ("us-east-1", "000000000000")


def test_names_inside() -> None:
    """A queue of another namespace has a name of its own inside, out of which it can be read again."""
    other = HOME._replace(region="eu-west-1").of_account("111122223333")
    assert HOME.name("q") == "q"
    assert parts(HOME, other.name("q")) == ("eu-west-1", "111122223333", "q")
    assert parts(HOME, "q") == ("us-east-1", "000000000000", "q")
    assert HOME.of_account("x") == HOME


def test_names_in_arns() -> None:
    """An ARN names the queue that it was made for, whichever namespace that is in, and nothing of another server."""
    for name in ("q", "q.fifo", "~eu-west-1/111122223333/q", "~cn-north-1/000000000000/q"):
        assert name_of(HOME, arn(HOME, name)) == name
    alone = HOME._replace(home=None)
    assert name_of(alone, "arn:aws:sqs:us-east-1:000000000000:q") == "q"
    for other in (
        "q",
        "arn:aws:sqs:us-east-1:000000000000:",
        "arn:aws:sqs:us-east-1:000000000000:a b",
        "arn:aws:sns:us-east-1:000000000000:q",
        "arn:aws:sqs:eu-west-1:000000000000:q",
    ):
        assert name_of(alone, other) is None


async def ask(sqs: Sqs, region: str, account: str, action: str, **members: Any) -> Reply:
    """Ask for an action as an account in a region."""
    headers = {**JSON, "X-Amz-Target": f"AmazonSQS.{action}", "Authorization": SIGNED.format(account, region)}
    return await sqs.post(json.dumps(members).encode(), headers)


async def test_regions_and_accounts_are_apart(redis_server: RedisServer) -> None:
    """Queues of one name in two regions and two accounts are four queues, each with its own ARN, URL and list."""
    async with serving(redis_server.url, multi_region=True) as sqs:
        places = [(region, account) for region in ("us-east-1", "eu-west-1") for account in ("AKID", "111122223333")]
        urls = {}
        for region, account in places:
            reply = await ask(sqs, region, account, "CreateQueue", QueueName="q")
            urls[region, account] = reply.json["QueueUrl"]
            body = f"{region} {account}"
            await ask(sqs, region, account, "SendMessage", QueueUrl=urls[region, account], MessageBody=body)
        await ask(sqs, "us-east-1", "AKID", "CreateQueue", QueueName="z")
        for region, account in places:
            url = urls[region, account]
            number = account if account.isdecimal() else "000000000000"
            assert url == f"{sqs.url}/{number}/q"
            reply = await ask(sqs, region, account, "ReceiveMessage", QueueUrl="q")
            assert [message["Body"] for message in reply.json["Messages"]] == [f"{region} {account}"]
            reply = await ask(sqs, region, account, "GetQueueAttributes", QueueUrl=url, AttributeNames=["QueueArn"])
            assert reply.json["Attributes"]["QueueArn"] == f"arn:aws:sqs:{region}:{number}:q"
            own = ["q", "z"] if (region, account) == ("us-east-1", "AKID") else ["q"]
            reply = await ask(sqs, region, account, "ListQueues")
            assert [found.rpartition("/")[2] for found in reply.json["QueueUrls"]] == own
            reply = await ask(sqs, region, account, "ListQueues", QueueNamePrefix="q", MaxResults=1)
            assert reply.json == {"QueueUrls": [url]}


async def test_the_account_in_a_url(redis_server: RedisServer) -> None:
    """The account in a QueueUrl, in a path, and QueueOwnerAWSAccountId select the owner."""
    async with serving(redis_server.url, multi_region=True) as sqs:
        await ask(sqs, "us-east-1", "111122223333", "CreateQueue", QueueName="q")
        owner = {"QueueOwnerAWSAccountId": "111122223333"}
        url = (await ask(sqs, "us-east-1", "AKID", "GetQueueUrl", QueueName="q", **owner)).json["QueueUrl"]
        assert url == f"{sqs.url}/111122223333/q"
        assert (await sqs.ask("GetQueueUrl", QueueName="q")).status == 400
        await sqs("SendMessage", QueueUrl=url, MessageBody="x")
        headers = {**JSON, "X-Amz-Target": "AmazonSQS.ReceiveMessage"}
        assert len((await sqs.post(b"{}", headers, "/111122223333/q")).json["Messages"]) == 1


async def test_dead_letters_stay_in_their_namespace(redis_server: RedisServer) -> None:
    """A dead-letter queue is of the same region and account; sources, move tasks and ARNs name it rightly."""
    arn = "arn:aws:sqs:eu-west-1:000000000000"
    policy = json.dumps({"deadLetterTargetArn": f"{arn}:dead", "maxReceiveCount": 1})
    async with serving(redis_server.url, multi_region=True) as sqs:
        for name in ("dead", "q"):
            await ask(sqs, "eu-west-1", "AKID", "CreateQueue", QueueName=name)
        reply = await sqs.ask("CreateQueue", QueueName="home", Attributes={"RedrivePolicy": policy})
        assert reply.error[3].endswith("Dead-letter target owner should be same as the source.")
        given = {"QueueUrl": "q", "Attributes": {"RedrivePolicy": policy}}
        assert (await ask(sqs, "eu-west-1", "AKID", "SetQueueAttributes", **given)).status == 200
        reply = await ask(
            sqs, "eu-west-1", "AKID", "GetQueueAttributes", QueueUrl="q", AttributeNames=["RedrivePolicy"]
        )
        assert json.loads(reply.json["Attributes"]["RedrivePolicy"]) == json.loads(policy)
        reply = await ask(sqs, "eu-west-1", "AKID", "ListDeadLetterSourceQueues", QueueUrl="dead")
        assert reply.json == {"queueUrls": [f"{sqs.url}/000000000000/q"]}
        await ask(sqs, "eu-west-1", "AKID", "SendMessage", QueueUrl="q", MessageBody="x")
        for _ in range(2):
            await ask(sqs, "eu-west-1", "AKID", "ReceiveMessage", QueueUrl="q", VisibilityTimeout=0)
        names = ["DeadLetterQueueSourceArn"]
        reply = await ask(sqs, "eu-west-1", "AKID", "ReceiveMessage", QueueUrl="dead", AttributeNames=names)
        assert reply.json["Messages"][0]["Attributes"] == {"DeadLetterQueueSourceArn": f"{arn}:q"}
        assert (await ask(sqs, "eu-west-1", "AKID", "StartMessageMoveTask", SourceArn=f"{arn}:dead")).status == 200


async def test_no_way_into_another_namespace(redis_server: RedisServer) -> None:
    """Neither a prefix nor an ARN that is none leads to the queues of another namespace, or to a server error."""
    async with serving(redis_server.url, multi_region=True) as sqs:
        await ask(sqs, "eu-west-1", "AKID", "CreateQueue", QueueName="q")
        for prefix in ("~", "~eu-west-1/", "/"):
            assert await sqs("ListQueues", QueueNamePrefix=prefix) == {}
        for region in ("a/b", "~eu-west-1", "", "EU", "eu-west-1 "):
            reply = await sqs.ask("ListMessageMoveTasks", SourceArn=f"arn:aws:sqs:{region}:000000000000:q")
            assert reply.status == 404


async def test_one_namespace_without_it(sqs: Sqs) -> None:
    """Without the setting every region and account means the same queues."""
    await sqs.create()
    for region, account in (("eu-west-1", "AKID"), ("us-east-1", "111122223333")):
        reply = await ask(sqs, region, account, "GetQueueUrl", QueueName="q")
        assert reply.json == {"QueueUrl": f"{sqs.url}/000000000000/q"}
    url = (await sqs("GetQueueUrl", QueueName="q", QueueOwnerAWSAccountId="111122223333"))["QueueUrl"]
    assert url == f"{sqs.url}/000000000000/q"


@pytest.mark.parametrize(
    ("region", "cloud"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-1", "aws")]
)
async def test_arns_name_the_cloud(redis_server: RedisServer, region: str, cloud: str) -> None:
    """ARNs of China and of the US government have a partition of their own, and are read back."""
    async with serving(redis_server.url, region=region) as sqs:
        url = await sqs.create()
        arn = (await sqs.attributes(url, "QueueArn"))["QueueArn"]
        assert arn == f"arn:{cloud}:sqs:{region}:000000000000:q"
        await sqs.set(url, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1}))


async def test_the_sender_is_the_account_that_signed(redis_server: RedisServer) -> None:
    """SenderId is the account of who sent, whoever owns the queue or receives."""
    async with serving(redis_server.url, multi_region=True) as sqs:
        url = (await ask(sqs, "us-east-1", "111122223333", "CreateQueue", QueueName="q")).json["QueueUrl"]
        for account in ("AKID", "444455556666"):
            await ask(sqs, "us-east-1", account, "SendMessage", QueueUrl=url, MessageBody="x")
        messages = await sqs.receive(url, MaxNumberOfMessages=10, AttributeNames=["SenderId"])
        assert [message["Attributes"]["SenderId"] for message in messages] == ["000000000000", "444455556666"]


async def test_an_owner_that_is_no_account(redis_server: RedisServer) -> None:
    """With several accounts, an owner that is none has no queue."""
    async with serving(redis_server.url, multi_region=True) as sqs:
        await sqs.create()
        reply = await sqs.ask("GetQueueUrl", QueueName="q", QueueOwnerAWSAccountId="me")
        assert reply.error[2] == "QueueDoesNotExist"


async def test_move_tasks_are_their_namespaces(redis_server: RedisServer) -> None:
    """Neither another region's nor another account's request starts, lists or cancels a move task."""
    arn = "arn:aws:sqs:eu-west-1:000000000000"
    policy = json.dumps({"deadLetterTargetArn": f"{arn}:dead", "maxReceiveCount": 1})
    async with serving(redis_server.url, multi_region=True) as sqs:
        await sqs.create("q")
        await ask(sqs, "eu-west-1", "AKID", "CreateQueue", QueueName="dead")
        await ask(sqs, "eu-west-1", "AKID", "CreateQueue", QueueName="q", Attributes={"RedrivePolicy": policy})
        source = {"SourceArn": f"{arn}:dead"}
        here = "arn:aws:sqs:us-east-1:000000000000:q"
        reply = await ask(sqs, "eu-west-1", "AKID", "StartMessageMoveTask", **source, DestinationArn=here)
        assert reply.error[3] == "The resource that you specified for the DestinationArn parameter doesn't exist."
        rate = {"MaxNumberOfMessagesPerSecond": 1}
        task = (await ask(sqs, "eu-west-1", "AKID", "StartMessageMoveTask", **source, **rate)).json
        for region, account in (("us-east-1", "AKID"), ("eu-west-1", "111122223333")):
            for action, given in (
                ("StartMessageMoveTask", source),
                ("ListMessageMoveTasks", source),
                ("CancelMessageMoveTask", task),
            ):
                assert (await ask(sqs, region, account, action, **given)).status == 404
        assert (await ask(sqs, "eu-west-1", "AKID", "ListMessageMoveTasks", **source)).status == 200
