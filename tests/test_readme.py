"""The stories of the README, run as they are printed there, against a questd started as it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest

from tests.client import ARN
from tests.servers import free_port

README = (Path(__file__).parent.parent / "README.md").read_text()


def story(name: str) -> str:
    """Return the block of code that the README marks with this name."""
    found = re.search(rf"<!-- story: {re.escape(name)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


class Started(NamedTuple):
    """A questd as `make start` starts it: its port, its private server's socket, a directory to work in."""

    port: int
    socket: str
    directory: Path

    def run(self, command: list[str], text: str) -> str:
        """Run a story in the directory, with this questd's port and socket in place of the printed ones."""
        text = text.replace("127.0.0.1:9324", f"127.0.0.1:{self.port}")
        text = re.sub(r"SOCKET=\S+", f"SOCKET={self.socket}", text).replace("/tmp/received", "received")
        path = self.directory / "story"
        path.write_text(text)
        told = subprocess.run([*command, str(path)], cwd=self.directory, capture_output=True, text=True, check=False)
        assert (told.returncode, told.stderr) == (0, ""), told
        return told.stdout


@pytest.fixture
def questd(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Started]:
    """Run `questd serve` with a data directory of its own, and the flags that a test is parametrized with."""
    with started(tmp_path, *getattr(request, "param", ())) as running:
        yield running


@contextmanager
def started(tmp_path: Path, *flags: str) -> Iterator[Started]:
    """Run `questd serve` for the length of the block."""
    port = free_port()
    command = [sys.executable, "-m", "questd", "serve", "--port", str(port), "--console-port", "0", "--test-mode"]
    command += flags
    environment = os.environ | {"QUESTD_DATA_DIR": str(tmp_path / "data")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout
    found = re.fullmatch(
        rf"questd ready on http://127.0.0.1:{port} · console http://127.0.0.1:\d+ · redis-cli -s (\S+) · .*\n",
        process.stdout.readline(),
    )
    assert found
    yield Started(port, found[1], tmp_path)
    process.terminate()
    process.stdout.close()
    assert process.wait() == 0


def test_boto3(questd: Started) -> None:
    """The boto3 story prints what the README says it prints."""
    assert questd.run([sys.executable], story("boto3")) == story("boto3 output")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(questd: Started) -> None:
    """The curl story creates, sends, receives, hides and deletes."""
    told = questd.run(["bash", "-e"], story("curl"))
    assert re.search(r'{"QueueUrl":"http://127.0.0.1:\d+/000000000000/mail"}', told)
    assert re.search(
        r'"Messages":\[{"MessageId":"[^"]+","ReceiptHandle":"[^"]+","MD5OfBody":"[^"]+","Body":"hello"}', told
    )
    assert "__type" not in told


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_redis_cli(questd: Started) -> None:
    """The redis-cli story sends, gets and deletes."""
    lines = questd.run(["bash", "-e"], story("redis-cli")).splitlines()
    assert lines[2:4] == ["uuid", lines[0]]
    assert lines[4:6] == ["value", "buy milk"]
    assert lines[-1] == "OK"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("questd", [["--workers", "1"]], indirect=True)
def test_clock(questd: Started) -> None:
    """The clock moves, and chaos is understood."""
    told = questd.run(["bash", "-e"], story("clock"))
    assert re.fullmatch(r'{"now_ms":\d+}({.*"throttling":0\.1,.*})({.*"throttling":0\.0,.*})', told)


def test_fixtures(tmp_path: Path) -> None:
    """The tests of somebody's own code pass as they are printed."""
    (tmp_path / "test_orders.py").write_text(story("fixtures"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in told.stdout, told.stdout + told.stderr


def test_queues(tmp_path: Path) -> None:
    """The queues that the README declares are there, as it says, when questd is ready; `questd check` says so too."""
    file = tmp_path / "questd.toml"
    file.write_text(story("queues"))
    with started(tmp_path, "--config", str(file)) as questd:
        sqs = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{questd.port}",
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        names = {url.rpartition("/")[2]: url for url in sqs.list_queues()["QueueUrls"]}
        assert names.keys() == {"orders", "orders-dead", "mail.fifo"}
        orders = sqs.get_queue_attributes(QueueUrl=names["orders"], AttributeNames=["All"])["Attributes"]
        assert orders["VisibilityTimeout"] == "60"
        assert orders["RedrivePolicy"] == f'{{"deadLetterTargetArn":"{ARN}:orders-dead","maxReceiveCount":5}}'
        assert sqs.list_queue_tags(QueueUrl=names["orders"])["Tags"] == {"team": "shop"}
        sqs.close()
        command = [sys.executable, "-m", "questd", "check", "--config", str(file), "--test-mode"]
        environment = os.environ | {"QUESTD_DATA_DIR": str(tmp_path / "data")}
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (told.returncode, told.stderr, told.stdout.count("is as it is declared")) == (0, "", 3), told.stdout


def test_command_line(questd: Started) -> None:
    """The commands send, look, write, delete and send again, and the list of queues says what is there then."""
    path = f'PATH="{Path(sys.executable).parent}:$PATH"\n'
    told = questd.run(["bash", "-e", "-o", "pipefail"], path + story("command line"))
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["Body"] for line in lines[1:4]] == ["99", "199", "299"]
    done = [{"Queue": "mail", "Exported": 1001}, {"Queue": "mail", "Purged": 1001}, {"Queue": "mail", "Sent": 1001}]
    assert lines[4:7] == done
    assert (lines[7]["Queue"], lines[7]["Visible"]) == ("mail", 1001)
