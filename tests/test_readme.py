"""The stories of the README and of the pages that it leads to, run as they are printed, against a questd started as they say.

The way of a newcomer through the README is test_newcomer.py; pages that are done top to bottom are in test_docs.py.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stories import ROOT, Reader, story

CLIENTS = ROOT / "docs" / "clients.md"
TESTS = ROOT / "docs" / "test-your-code.md"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Have somebody with a questd in test mode."""
    with Reader(tmp_path) as reader:
        reader.run("questd serve --test-mode --workers 1")
        yield reader


def test_boto3(reader: Reader) -> None:
    """The boto3 story prints what the page says it prints."""
    reader.save("story.py", story(CLIENTS, "boto3"))
    reader.run("python story.py")
    reader.saw(story(CLIENTS, "boto3 output"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(reader: Reader) -> None:
    """The curl story creates, sends, receives, hides and deletes."""
    reader.run(story(CLIENTS, "curl"))
    assert re.search(r'{"QueueUrl":"http://127.0.0.1:\d+/000000000000/mail"}', reader.printed)
    assert re.search(
        r'"Messages":\[{"MessageId":"[^"]+","ReceiptHandle":"[^"]+","MD5OfBody":"[^"]+","Body":"hello"}', reader.printed
    )
    assert "__type" not in reader.printed


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_redis_cli(reader: Reader) -> None:
    """The redis-cli story sends, gets and deletes."""
    socket = re.search(r"redis-cli -s (\S+)", reader.programs["questd serve"].said)
    assert socket
    reader.run(re.sub(r"SOCKET=\S+", f"SOCKET={socket[1]}", story(CLIENTS, "redis-cli")))
    lines = reader.printed.splitlines()
    assert lines[2:4] == ["uuid", lines[0]]
    assert lines[4:6] == ["value", "buy milk"]
    assert lines[-1] == "OK"


def test_command_line(reader: Reader) -> None:
    """The commands send, look, write, delete and send again, and the list of queues says what is there then."""
    reader.run(story(CLIENTS, "command line"))
    lines = [json.loads(line) for line in reader.printed.splitlines()]
    assert [line["Body"] for line in lines[1:4]] == ["99", "199", "299"]
    done = [{"Queue": "mail", "Exported": 1001}, {"Queue": "mail", "Purged": 1001}, {"Queue": "mail", "Sent": 1001}]
    assert lines[4:7] == done
    assert (lines[7]["Queue"], lines[7]["Visible"]) == ("mail", 1001)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_clock(reader: Reader) -> None:
    """The clock moves, and chaos is understood."""
    reader.run(story(TESTS, "clock"))
    assert re.fullmatch(r'{"now_ms":\d+}({.*"throttling":0\.1,.*})({.*"throttling":0\.0,.*})', reader.printed)


def test_fixtures(tmp_path: Path) -> None:
    """The tests of somebody's own code pass as they are printed."""
    (tmp_path / "test_orders.py").write_text(story(TESTS, "fixtures"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in told.stdout, told.stdout + told.stderr
