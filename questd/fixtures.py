"""pytest's fixtures of testing.py, which pytest finds wherever questd is installed: one server, an account per test.

A test that uses one of them, but for `sqs_server` alone, has AWS's variables set so that a client which the code under
test makes as usual, `boto3.client("sqs")`, is one of the test's own account. One made earlier is not.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from questd.testing import Account, Clock, Server, ServerFailed

MISLEADING = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
"""Variables of a developer that would lead his SDK elsewhere."""

PAST_PROXIES = ("no_proxy", "NO_PROXY")


@pytest.fixture(scope="session")
def sqs_server() -> Iterator[Server]:
    """Give a questd of this session's own (each worker of pytest-xdist has one)."""
    try:
        server = Server()
        server.start()
    except ServerFailed as error:
        pytest.fail(str(error), pytrace=False)
    yield server
    server.stop()


@pytest.fixture
def sqs_account(sqs_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Give an account of this test's own: empty, and the one that AWS's variables name."""
    with sqs_server.account() as account:
        for name in MISLEADING:
            monkeypatch.delenv(name, raising=False)
        for name in PAST_PROXIES:
            monkeypatch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))))
        for name, value in account.environment.items():
            monkeypatch.setenv(name, value)
        _forget_default_session(monkeypatch)
        yield account


def _forget_default_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `boto3.client` read the variables again: it would keep the account of the first test that called it."""
    try:
        import boto3  # noqa: PLC0415  # there are other SDKs
    except ImportError:
        return
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def sqs_endpoint(sqs_account: Account) -> str:
    """Return the URL for SDKs that do not read AWS_ENDPOINT_URL_SQS."""
    return sqs_account.environment["AWS_ENDPOINT_URL_SQS"]


@pytest.fixture
def sqs_client(sqs_account: Account) -> Any:  # noqa: ANN401  # boto3 makes its classes as it runs
    """Return a client of boto3."""
    return sqs_account.client()


@pytest.fixture
def sqs_queue(sqs_account: Account) -> Callable[..., str]:
    """Return what makes a queue and returns its URL: `sqs_queue("orders.fifo", VisibilityTimeout="5")`."""
    return sqs_account.create_queue


@pytest.fixture
def sqs_clock(sqs_account: Account, sqs_server: Server) -> Clock:  # noqa: ARG001  # the account puts it back
    """Return the clock of the server, the same for all tests that run on it at one time: `sqs_clock.advance(30)`."""
    return sqs_server.clock


@pytest.fixture
def sqs_chaos(sqs_account: Account) -> Callable[..., None]:
    """Return what lets this test meet what SQS does at its worst: `sqs_chaos(seed=1, duplicates=0.2)`."""
    return sqs_account.chaos
