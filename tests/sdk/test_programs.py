"""Programs on real SDKs in several languages see the same life of two queues; a celery worker does its tasks."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sdk.programs import SEEN, environment, prepared, seen, venv

MAVEN = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]


@pytest.mark.parametrize(
    ("name", "needs"),
    [("cycle", "boto3==1.26.*"), ("cycle_aio", "aiobotocore>=3,<4")],
    ids=["boto3 on the Query protocol", "aiobotocore"],
)
def test_python(questd_url: str, name: str, needs: str) -> None:
    """boto3 from before the JSON protocol, and aiobotocore."""
    directory = prepared("python", [], venv(needs))
    assert seen(["bin/python", f"{name}.py"], directory, questd_url) == SEEN


def test_boto3(questd_url: str) -> None:
    """Today's boto3 on the JSON protocol."""
    assert seen([sys.executable, "cycle.py"], Path(__file__).parent / "python", questd_url) == SEEN


def test_javascript(questd_url: str) -> None:
    """AWS SDK for JavaScript v3."""
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    directory = prepared("js", ["node", "npm"], [install])
    assert seen(["node", "cycle.mjs"], directory, questd_url) == SEEN


def test_go(questd_url: str) -> None:
    """AWS SDK for Go v2."""
    directory = prepared("go", ["go"], [["go", "mod", "tidy"], ["go", "build", "-o", "cycle", "."]])
    assert seen(["./cycle"], directory, questd_url) == SEEN


def test_java(questd_url: str) -> None:
    """AWS SDK for Java v2."""
    directory = prepared("java", ["mvn", "javac"], [MAVEN, ["javac", "-cp", "lib/*", "-d", ".", "Cycle.java"]])
    error = {"error": "AWS.SimpleQueueService.NonExistentQueue"}  # its type was QueueDoesNotExistException
    assert seen(["java", "-cp", ".:lib/*", "Cycle"], directory, questd_url) == SEEN | error


def test_celery(questd_url: str, tmp_path: Path) -> None:
    """A celery worker on kombu's SQS transport does a hundred tasks, each once."""
    directory = prepared("celery", [], venv("celery[sqs]>=5.4,<6"))
    notes = tmp_path / "notes"
    variables = {**environment(questd_url), "NOTES": str(notes)}
    subprocess.run(["bin/python", "send.py"], cwd=directory, env=variables, check=True, timeout=60)
    command = ["bin/celery", "-A", "app", "worker", "--pool", "threads", "--concurrency", "4", "--without-mingle"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(command, cwd=directory, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not notes.exists() or len(notes.read_text().splitlines()) < 100:
            assert worker.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.02)
    finally:
        worker.terminate()
        worker.wait(30)
    assert sorted(map(int, notes.read_text().split())) == list(range(100))
