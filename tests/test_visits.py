"""Visits: who is at the console, and that he acts with his rights and no others."""

import pytest

from questd import errors
from questd.access import Access, Key
from questd.action import Questd
from questd.request import Request
from questd.visits import Visit, queue_at, segment

SECRET = "a secret of some length"


@pytest.fixture
def visit(questd: Questd) -> Visit:
    """Return a visit of somebody who may do something with some queues."""
    questd.gate = Access({"SOME": Key(secret=SECRET, allow=["orders-*:SendMessage,CreateQueue"])}, "000000000000")
    request = Request("POST", "/", {}, b"", namespace=questd.home)
    questd.gate.admit(request, "SOME")
    return Visit(questd, request, "")


async def test_rights(visit: Visit) -> None:
    """An action is done with the rights of the key, and refused without."""
    await visit.do("CreateQueue", QueueName="orders-eu")
    sent = await visit.do("SendMessage", QueueUrl="orders-eu", MessageBody="x")
    assert sent["MessageId"]
    with pytest.raises(errors.AccessDenied):
        await visit.do("PurgeQueue", QueueUrl="orders-eu")
    with pytest.raises(errors.AccessDenied):
        await visit.do("CreateQueue", QueueName="mail")
    assert await visit.seen("ListQueueTags", QueueUrl="orders-eu") == {}
    assert await visit.may("SendMessage", "orders-eu")
    assert not await visit.may("ReceiveMessage", "orders-eu")
    assert not await visit.may("ListQueues", "")


async def test_without_keys(visit: Visit) -> None:
    """Where there are no access keys everybody may do everything."""
    visit.questd.gate = None
    await visit.do("CreateQueue", QueueName="mail")
    assert await visit.may("DeleteQueue", "mail")
    assert await visit.may("ListQueues", "")


async def test_what_is_wrong_is_said_as_to_a_client(visit: Visit) -> None:
    """Members are checked as those of a client's request."""
    with pytest.raises(errors.QueueDoesNotExist):
        await visit.do("SendMessage", MessageBody="x")
    with pytest.raises(errors.SerializationException):
        await visit.do("SendMessage", QueueUrl="orders-eu", MessageBody={"no": "text"})


async def test_names(visit: Visit) -> None:
    """A queue's name inside can stand in a path, and comes out of it as it was."""
    for name in ("orders", "orders.fifo", "~eu-west-1/111122223333/orders"):
        assert "/" not in segment(name)
        assert queue_at(segment(name)) == name
    assert visit.url("orders") == "queue/us-east-1/000000000000/orders"
    assert visit.url("~eu-west-1/111122223333/q") == "queue/eu-west-1/111122223333/q"
