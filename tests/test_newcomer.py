"""Somebody who knows questd from its README alone gets on: each step of it is a test, done with what the README says."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.boto import client_of
from tests.client import ARN
from tests.stories import CONSOLE, QUEUES, ROOT, Program, Reader, blocks, story
from tests.visitor import Visitor
from tests.waiting import until_so

README = ROOT / "README.md"


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Reader]:
    """Have somebody who has said `make start`, which is `questd serve` in an environment where it is installed."""
    with Reader(tmp_path) as newcomer:
        newcomer.run("questd serve")
        yield newcomer


@pytest.fixture
async def visitor(newcomer: Reader) -> AsyncIterator[Visitor]:
    """Let him look at the console where the README says it is."""
    assert "`http://127.0.0.1:9325`" in README.read_text()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Visitor(newcomer.console, session)


def sent_and_received(newcomer: Reader) -> None:
    """Save the program of the README and run it."""
    [program] = [block.text for block in blocks(README) if block.mark == "file: story.py"]
    newcomer.save("story.py", program)
    newcomer.run(story(README, "send and receive"))
    newcomer.saw(story(README, "send and receive printed"))


def test_it_starts(tmp_path: Path) -> None:
    """`make start` starts it, and it says what the README prints."""
    if not shutil.which("make") or subprocess.run(["make", "-q", ".venv/questd"], cwd=ROOT, check=False).returncode:
        pytest.skip("make start would install into this checkout")
    newcomer = Reader(tmp_path)
    ports = {"QUESTD_PORT": newcomer.ports[QUEUES], "QUESTD_CONSOLE_PORT": newcomer.ports[CONSOLE]}
    command = story(README, "start").partition("#")[0].split()
    started = Program(command, ROOT, newcomer.environment | ports)
    try:
        said = started.wait_for("questd ready on")
    finally:
        started.end()
    [printed] = re.findall(r"^    (questd ready on .*)$", README.read_text(), re.MULTILINE)
    for port in (QUEUES, CONSOLE):
        printed = printed.replace(port, newcomer.ports[port])
    wanted = re.escape(printed).replace("…", r"\S+").replace(re.escape("~/.local/share"), r"\S+")
    assert re.fullmatch(wanted, said.strip())


async def test_a_message_is_seen_in_the_console(newcomer: Reader, visitor: Visitor) -> None:
    """The message that the program left is on the page of its queue, which the first page leads to."""
    sent_and_received(newcomer)
    assert 'href="/queues/orders"' in (await visitor.get("/")).text
    assert (await visitor.get("/queues/orders")).has("three pizzas")


def test_curl(newcomer: Reader) -> None:
    """The README's one line of curl finds the queue."""
    sent_and_received(newcomer)
    newcomer.run(story(README, "curl"))
    assert re.search(r'{"QueueUrl":"http://127\.0\.0\.1:\d+/000000000000/orders"}', newcomer.printed), newcomer.printed


def test_the_next_page(newcomer: Reader) -> None:
    """The program of the page that the README leads to does what it says beside the queues of the README's own."""
    sent_and_received(newcomer)
    clients = ROOT / "docs" / "clients.md"
    newcomer.save("story.py", story(clients, "boto3"))
    newcomer.run("python story.py")
    newcomer.saw(story(clients, "boto3 output"))


async def test_why_a_message_is_a_dead_letter(newcomer: Reader, visitor: Visitor) -> None:
    """The console says why a message is in the dead-letter queue, and its button brings it back."""
    sent_and_received(newcomer)
    await dead_letter(visitor)
    page = await visitor.get("/queues/orders-dead")
    assert page.has("Why it is here: it came from orders , was received 1 time,")
    assert "Redrive…" in page.text
    await visitor.post("/queues/orders-dead/redrive", on="/queues/orders-dead/confirm/redrive")
    await back(visitor)


async def test_redrive_on_the_command_line(newcomer: Reader, visitor: Visitor) -> None:
    """Commands show the dead letter and bring it back, too."""
    sent_and_received(newcomer)
    await dead_letter(visitor)
    newcomer.run(story(README, "redrive"))
    assert '"one pizza with everything"' in newcomer.printed
    await back(visitor)


async def shown(visitor: Visitor, path: str) -> None:
    """Wait until a page shows it."""

    async def has_it() -> bool:
        return (await visitor.get(path)).has("one pizza with everything")

    await until_so(has_it, 20)


async def dead_letter(visitor: Visitor) -> None:
    """Wait for the message that nobody deleted: its timeout is a second, and it moves two seconds later."""
    await shown(visitor, "/queues/orders-dead")


async def back(visitor: Visitor) -> None:
    """Wait until it is where it came from."""
    await shown(visitor, "/queues/orders")
    assert not (await visitor.get("/queues/orders-dead")).has("one pizza with everything")


def test_it_is_graphed(newcomer: Reader) -> None:
    """Prometheus gets what the panels of the dashboard ask for, and the files that the README names are there."""
    sent_and_received(newcomer)
    newcomer.run(story(README, "graph"))
    assert 'questd_queue_messages{queue="orders",state="visible"} 1.0' in newcomer.printed
    newcomer.run("curl -fsS http://127.0.0.1:9325/metrics")
    has = set(re.findall(r"^# TYPE (\w+)", newcomer.printed, re.MULTILINE))
    dashboard = (ROOT / "docs" / "monitoring" / "grafana" / "questd.json").read_text()
    asked = {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"\bquestd_\w+", dashboard)}
    assert asked
    assert asked <= has
    assert "targets: [questd:9325]" in (ROOT / "docs" / "monitoring" / "prometheus.yml").read_text()


def test_queues_are_declared(tmp_path: Path) -> None:
    """The queues of the file are there, as it says, when questd is ready; `questd check` says so too."""
    with Reader(tmp_path) as newcomer:
        newcomer.save("questd.toml", story(README, "queues"))
        newcomer.run("questd serve --config questd.toml")
        sqs = client_of(newcomer.url)
        names = {url.rpartition("/")[2]: url for url in sqs.list_queues()["QueueUrls"]}
        assert names.keys() == {"orders", "orders-dead", "mail.fifo"}
        orders = sqs.get_queue_attributes(QueueUrl=names["orders"], AttributeNames=["All"])["Attributes"]
        assert orders["VisibilityTimeout"] == "60"
        assert json.loads(orders["RedrivePolicy"]) == {
            "deadLetterTargetArn": f"{ARN}:orders-dead",
            "maxReceiveCount": 5,
        }
        assert sqs.list_queue_tags(QueueUrl=names["orders"])["Tags"] == {"team": "shop"}
        sqs.close()
        newcomer.run("questd check --config questd.toml")
        assert newcomer.printed.count("is as it is declared") == 3


def test_it_is_used_in_tests(tmp_path: Path) -> None:
    """The test of somebody's own code passes as the README prints it."""
    (tmp_path / "test_orders.py").write_text(story(README, "fixtures"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in told.stdout, told.stdout + told.stderr
