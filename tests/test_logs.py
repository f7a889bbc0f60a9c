"""Log lines of a real questd: read as text and as JSON, beside what its client saw."""

import asyncio
import json
import logging
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from questd import answer, logs
from questd.action import Questd
from questd.actions import ACTIONS
from questd.request import Request
from questd.settings import Settings
from tests.boto import client_of
from tests.client import Sqs, serving
from tests.servers import RedisServer
from tests.test_workers import serving as serving_processes
from tests.test_workers import starting
from tests.waiting import until

SECRET = "a secret of some length"
BODY = "what nobody else may read"


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Give what says what was written to standard error since it was asked last; the loggers stay as they were."""
    root = logging.getLogger()
    before = root.handlers, root.level, logs.ACCESS.level
    yield lambda: capsys.readouterr().err
    root.handlers = before[0]
    root.setLevel(before[1])
    logs.ACCESS.setLevel(before[2])


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def fields_of(line: str) -> dict[str, str]:
    """Return the fields of a line of the access log as text."""
    return dict(word.split("=", 1) for word in line.split()[2:])


def test_text(written: Callable[[], str]) -> None:
    """A line of text is one that people read, with the level; less severe ones are left out."""
    logs.configure(Settings(log_level="warning"))
    logging.getLogger("questd.x").info("no")
    logging.getLogger("questd.x").warning("%d messages", 3)
    assert written() == "questd: WARNING: 3 messages\n"


def test_json(written: Callable[[], str]) -> None:
    """A line of JSON is one object with time, level, logger and message; a failure is in it, whole, on one line."""
    logs.configure(Settings(log_format="json"))
    log = logging.getLogger("questd.x")
    log.info("two\nlines")
    log.error("request %s failed", "1-2", exc_info=ValueError("ü"), extra=logs.about("1-2"))
    plain, failed = lines_of(written())
    assert plain.pop("time").endswith("Z")
    assert plain == {"level": "info", "logger": "questd.x", "message": "two\nlines"}
    assert (failed["level"], failed["request_id"]) == ("error", "1-2")
    assert failed["error"].endswith("ValueError: ü")


def test_what_repeats_itself(written: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many warnings of a kind some are shown, and later how many more there were; others are shown beside them."""
    monkeypatch.setattr(logs, "REPEATED_SECONDS", 0.5)
    logs.configure(Settings())
    log = logging.getLogger("questd.x")
    for pause in (0, 0.6):
        time.sleep(pause)
        for number in range(100):
            log.warning("100 %% refused: %d", number)
    log.warning("another")
    for _ in range(100):
        log.info("well")
    lines = written().splitlines()
    refused = [line for line in lines if "refused" in line]
    assert refused[:10] == [f"questd: WARNING: 100 % refused: {number}" for number in range(10)]
    assert refused[10] == "questd: WARNING: 100 % refused: 0 (and 90 more like it before)"
    assert len(refused) == 20
    assert lines[20:] == ["questd: WARNING: another", *["questd: INFO: well"] * 100]


def test_a_field_is_one_word(written: Callable[[], str]) -> None:
    """What a client chose cannot pass for another field or another line; nothing is shown as a dash."""
    logs.configure(Settings())
    logs.access({"queue": "a b=c\nquestd: x", "key": "", "status": 200})
    assert written().partition("Z ")[2] == "queue=ab=cquestd:x key=- status=200\n"


@pytest.mark.parametrize("front", ["listener", "aiohttp"])
async def test_access_log(redis_server: RedisServer, written: Callable[[], str], front: str) -> None:
    """A request is a line with the id that its client saw, who asked for what, and what came of it; health is none."""
    settings = {"access_log": True, "log_format": "json", "log_level": "error"}
    logs.configure(Settings.model_validate(settings))
    async with serving(redis_server.url, front=front, **settings) as sqs:
        url = await sqs.create()
        sent = await sqs.ask("SendMessage", QueueUrl=url, MessageBody=BODY)
        failed = await sqs.ask("SendMessage", QueueUrl="nowhere", MessageBody=BODY)
        wrong = await sqs.ask("SendMessage", QueueUrl=url)
        none = await sqs.ask("NoAction")
        async with sqs.session.get(f"{sqs.url}/?Action=GetQueueUrl&QueueName=" + 300 * "x") as long:
            await long.read()
        async with sqs.session.get(f"{sqs.url}/health/live") as health:
            await health.read()
    text = written()
    _, *lines = [line for line in lines_of(text) if line["logger"] == "questd.access"]
    assert [line["request_id"] for line in lines] == [
        reply.headers["x-amzn-RequestId"] for reply in (sent, failed, wrong, none, long)
    ]
    asked = [(line["action"], line["queue"], line["status"], line["error"]) for line in lines]
    assert asked == [
        ("SendMessage", "q", 200, ""),
        ("SendMessage", "nowhere", 400, "QueueDoesNotExist"),
        ("SendMessage", "", 400, "MissingRequiredParameterException"),
        ("", "", 400, "UnknownOperationException"),
        ("GetQueueUrl", 200 * "x", 400, "QueueDoesNotExist"),
    ]
    assert (lines[0]["peer"], lines[0]["key"], lines[0]["bytes_out"]) == ("127.0.0.1", "", len(sent.body))
    assert lines[0]["bytes_in"] > len(BODY)
    assert 0 < lines[0]["ms"] < 5000
    assert BODY not in text


@pytest.mark.parametrize("front", ["listener", "aiohttp"])
async def test_who_does_not_wait(redis_server: RedisServer, written: Callable[[], str], front: str) -> None:
    """A request whose client hangs up before the answer is a line too, with status 499 and how long it waited."""
    settings = {"access_log": True, "log_format": "json"}
    logs.configure(Settings.model_validate(settings))
    text = ""

    def line() -> dict[str, Any] | None:
        nonlocal text
        text += written()
        return next((each for each in lines_of(text) if each.get("action") == "ReceiveMessage"), None)

    async with serving(redis_server.url, front=front, **settings) as sqs:
        url = await sqs.create()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sqs.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20), 0.1)
        async with asyncio.timeout(5):
            while not (told := line()):
                await asyncio.sleep(0.01)
    assert (told["status"], told["error"], told["queue"], told["bytes_out"]) == (499, "", "q", 0)
    assert told["ms"] < 20_000
    assert told["request_id"]


async def test_a_mistake_of_ours(sqs: Sqs, written: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of a request that failed by our mistake has the id that its client saw."""
    logs.configure(Settings(log_format="json"))

    async def broken(_self: object, _questd: Questd, _request: Request) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ACTIONS["ListQueues"], "__call__", broken)
    reply = await sqs.ask("ListQueues")
    assert reply.status == 500
    [line] = [line for line in lines_of(written()) if line["logger"] == answer.__name__]
    assert line["request_id"] == reply.headers[answer.REQUEST_ID]
    assert line["error"].endswith("ZeroDivisionError")


async def test_no_access_log(sqs: Sqs, written: Callable[[], str]) -> None:
    """Without the setting, requests leave no lines."""
    logs.configure(Settings())
    await sqs.create()
    assert written() == ""


async def test_who_asked(tmp_path: Path) -> None:
    """With access keys the line names the key; no secret and no body is in any line of all processes."""
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[KEY]\nsecret = "{SECRET}"\nallow = ["mine:*"]\n')
    keys.chmod(0o600)
    flags = ("--ephemeral", "--keys-file", str(keys), "--access-log", "--workers", "2")
    with serving_processes(*flags) as questd:

        def ask() -> None:
            with closing(client_of(questd.address, "KEY", SECRET)) as sqs:
                url = sqs.create_queue(QueueName="mine")["QueueUrl"]
                sqs.send_message(QueueUrl=url, MessageBody=BODY)
                with pytest.raises(sqs.exceptions.ClientError):
                    sqs.create_queue(QueueName="theirs")
            with closing(client_of(questd.address, "OTHER", SECRET)) as sqs, pytest.raises(sqs.exceptions.ClientError):
                sqs.list_queues()

        await asyncio.to_thread(ask)
        text = questd.errors.read_text()
    lines = [fields_of(line) for line in text.splitlines() if "request_id=" in line]
    assert [(line["key"], line["action"], line["queue"], line["error"]) for line in lines] == [
        ("KEY", "CreateQueue", "mine", "-"),
        ("KEY", "SendMessage", "mine", "-"),
        ("KEY", "CreateQueue", "theirs", "AccessDeniedException"),
        ("-", "-", "-", "UnrecognizedClientException"),
    ]
    assert SECRET not in text
    assert BODY not in text


def test_every_line_is_json() -> None:
    """With --log-format json, what all processes say is JSON: when they start, when one dies, on SIGHUP and at the end."""
    with serving_processes("--ephemeral", "--log-format", "json", "--access-log", "--console-port", "0") as questd:
        urllib.request.urlopen(f"{questd.address}/?Action=ListQueues", timeout=5).close()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{questd.address}/?Action=Nothing", timeout=5)
        refused.value.close()
        questd.process.terminate()
        assert questd.process.wait(6) == 0
        lines = [json.loads(line) for line in questd.errors.read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    assert [line["action"] for line in lines if line["logger"] == "questd.access"] == ["ListQueues", ""]


def test_sighup_changes_the_form(tmp_path: Path) -> None:
    """With the settings read again, lines have their new form, the supervisor's too."""
    config = tmp_path / "questd.toml"
    config.write_text("")
    with serving_processes("--ephemeral", "--config", str(config)) as questd:
        config.write_text('log_format = "json"\n')
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: "the settings were read again" in questd.errors.read_text())
        [line] = [line for line in questd.errors.read_text().splitlines() if "read again" in line]
    assert json.loads(line)["logger"] == "questd.workers"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--redis-url", "redis://me:secret@127.0.0.1:1"), "no Redis at redis://***@127.0.0.1:1: "),
        (("--durability", "replicated"), "--durability replicated needs a Redis that has replicas"),
    ],
)
def test_a_start_that_fails_is_json_too(flags: tuple[str, ...], message: str) -> None:
    """Why questd does not start is a line of JSON as well, be it Redis or settings that do not fit together."""
    with starting("--log-format", "json", *flags) as questd:
        assert questd.process.wait(10) == 1
        last = json.loads(questd.errors.read_text().splitlines()[-1])
    assert last["level"] == "critical"
    assert last["message"].startswith(message)
