"""What `questd check` says of settings, declared queues and a Redis, and that it changes none of them."""

import asyncio
import re
import socket
import textwrap
from pathlib import Path
from typing import Any

import pytest

from questd import checkup, declared, library, source
from questd.__main__ import main
from questd.embedded import servers
from questd.settings import BadSetting, Settings
from tests.client import ARN
from tests.servers import DEFAULT, RedisServer, free_port, running
from tests.test_library import newer

QUEUES = """
[queues.orders]
VisibilityTimeout = 60
dead_letter_queue = "orders-dead"
max_receive_count = 5
tags = { team = "shop" }

[queues.orders-dead]
"""

OTHERS_ONLY = f"""[queues.d]
RedriveAllowPolicy = {{ redrivePermission = "byQueue", sourceQueueArns = ["{ARN}:b"] }}"""


def check(path: Path, content: str = "", **settings: Any) -> list[str]:
    """Return the lines that are said of a file and settings."""
    file = path / "questd.toml"
    file.write_text(content)
    where = {} if "redis_url" in settings else {"data_dir": path / "data"}
    read = Settings.model_validate({"config": file} | where | settings)
    return [str(finding).replace(str(path), "DIR") for finding in checkup.findings(read)]


def wrong(lines: list[str]) -> list[str]:
    """Return the lines that tell something wrong."""
    return [line.removeprefix("WRONG  ") for line in lines if line.startswith("WRONG")]


def load(redis: RedisServer) -> None:
    """Put the library into a Redis."""
    asyncio.run(library.load(redis.url, test_mode=False))


def made(redis: RedisServer, path: Path, content: str) -> list[str]:
    """Make what a file declares, as serve does at its start; return what it would end with."""
    file = path / "questd.toml"
    file.write_text(content)
    try:
        asyncio.run(declared.make(Settings.model_validate({"config": file, "redis_url": redis.url})))
    except BadSetting as error:
        return [str(error).replace(str(path), "DIR")]
    return []


def test_a_private_server(tmp_path: Path) -> None:
    """Without a Redis it is said which server will be started, on which data; no directory is made."""
    lines = check(tmp_path, QUEUES)
    assert wrong(lines) == []
    assert "ok     queues: 2 declared in DIR/questd.toml" in lines
    assert re.match(r"ok     Redis: a private \w+ [\d.]+ with data in DIR/data, which will be started", lines[-1])
    assert [each.name for each in tmp_path.iterdir()] == ["questd.toml"]


def test_a_private_server_that_runs(tmp_path: Path) -> None:
    """One that runs is asked; one that was killed has left its socket behind, and will be started."""
    data = tmp_path / "data"
    data.mkdir()
    with running(DEFAULT, "--unixsocket", str(tmp_path / "redis.sock")):
        (data / "socket").write_text(str(tmp_path / "redis.sock"))
        lines = check(tmp_path)
        assert "which runs" in lines[-3]
        assert "has no library" in lines[-2]
    assert "will be started" in check(tmp_path)[-1]


def test_data_that_cannot_be_kept(tmp_path: Path) -> None:
    """A data directory that cannot be made, and one that another server wrote, are wrong."""
    (tmp_path / "data").write_text("")
    assert wrong(check(tmp_path)) == ["cannot keep data in DIR/data: DIR/data is not a directory that can be written"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "server").write_text("valkey 99.0\n")
    assert "written by valkey 99.0" in wrong(check(tmp_path, data_dir=tmp_path / "other"))[0]


def test_everything_wrong_is_told(tmp_path: Path) -> None:
    """Ports, keys, certificates, queues and durability are each told, and Redis is not asked before they are right."""
    keys = tmp_path / "keys.toml"
    keys.write_text("")
    keys.chmod(0o644)
    lines = check(
        tmp_path,
        "[queues.a]\nDelaySeconds = 901",
        host="192.0.2.1",
        keys_file=keys,
        tls_key=keys,
        durability="replicated",
    )
    assert [line[:31] for line in wrong(lines)] == [
        "cannot listen on 192.0.2.1, por",
        "DIR/keys.toml can be read by ot",
        "--tls-key is the key of a certi",
        "DIR/questd.toml, line 2: [queue",
        "--durability replicated needs a",
    ]
    assert "anyone who reaches this machine" in wrong(check(tmp_path, host="0.0.0.0"))[0]
    said = check(tmp_path, "[queues.a]\nDelaySeconds = 901", redis_url=f"redis://127.0.0.1:{free_port()}")[-1]
    assert said == "note   Redis: not asked before the rest is right"


def test_ports(tmp_path: Path) -> None:
    """It is told which ports are in use by now, which is not wrong: a questd may run, and be asked to read its file anew."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        for given, said in (
            (
                {"port": number, "console_port": "off"},
                f"port {number}; console: off (in use now, by a questd that runs",
            ),
            ({"port": 0, "console_port": number}, f"port 0; console: {number} (in use now, by a questd that runs"),
            ({"port": 0, "console_port": "off"}, "port 0; console: off"),
        ):
            first, *lines = check(tmp_path, **given)
            assert first.startswith(f"ok     listens on 127.0.0.1, {said}")
            assert ("in use" in first) == ("in use" in said)
            assert wrong(lines) == []


def test_keys(tmp_path: Path) -> None:
    """It is told how many keys there are, and what it means when there are none."""
    keys = tmp_path / "keys.toml"
    keys.touch(0o600)
    [line] = [each for each in check(tmp_path, keys_file=keys) if "access:" in each]
    assert line == "ok     access: DIR/keys.toml has no key, so nobody may do more than a queue's policy opens to all"
    keys.write_text('[A]\nsecret = "at least eight"')
    assert "ok     access: requests are signed with one of 1 keys" in check(tmp_path, keys_file=keys)
    said = check(tmp_path)
    assert "ok     access: no keys, so anyone who can reach 127.0.0.1 may use every queue" in said


def test_no_redis(tmp_path: Path) -> None:
    """A Redis that cannot be reached is wrong; its password is not told."""
    [line] = wrong(check(tmp_path, redis_url=f"redis://:secret@127.0.0.1:{free_port()}"))
    assert line.startswith("no Redis at redis://***@127.0.0.1:")


def test_a_redis_without_tls(redis_server: RedisServer, tmp_path: Path) -> None:
    """A Redis without TLS that the URL asks for is wrong, and told of as that."""
    [line] = wrong(check(tmp_path, redis_url=redis_server.url.replace("redis", "rediss")))
    assert line.startswith(f"rediss://127.0.0.1:{redis_server.port}: a server answers, but without TLS")


def test_a_redis_without_the_library(redis_server: RedisServer, tmp_path: Path) -> None:
    """The server's version, what it does not promise and that the library is to be loaded are told; nothing is written."""
    with redis_server.client() as client:
        client.function_flush()
        lines = check(tmp_path, QUEUES, redis_url=redis_server.url)
        assert wrong(lines) == []
        [server, doubt] = lines[-2:]
        assert re.match(
            r"note   Redis: (Valkey|Redis) [\d.]+ at redis://\S+ has no library, \d+ will be loaded", server
        )
        assert doubt.startswith("note   Redis: this Redis has no append-only file")
        assert client.function_list() == []


def test_what_start_would_do(redis_server: RedisServer, tmp_path: Path) -> None:
    """Of each declared queue it is told whether it will be made or changed; nothing is written."""
    load(redis_server)

    def told(content: str) -> list[str]:
        lines = check(tmp_path, content, redis_url=redis_server.url)
        return [line.removeprefix("ok     queue ") for line in lines if line.startswith("ok     queue ")]

    assert told(QUEUES) == ["orders-dead will be made", "orders will be made"]
    with redis_server.client() as client:
        assert client.keys("quest:{*") == []
        assert made(redis_server, tmp_path, QUEUES) == []
        before = client.info("persistence")["rdb_changes_since_last_save"]
        assert told(QUEUES) == ["orders-dead is as it is declared", "orders is as it is declared"]
        assert told(QUEUES.replace("60", "61"))[1] == "orders will be changed: another VisibilityTimeout"
        assert told(QUEUES.replace("shop", "store"))[1] == "orders will be changed: other tags (team)"
        assert client.info("persistence")["rdb_changes_since_last_save"] == before


def test_a_dead_letter_queue_that_is_nowhere(redis_server: RedisServer, tmp_path: Path) -> None:
    """A dead-letter queue that is neither declared nor in Redis is wrong, as it is at start; one in Redis is right."""
    load(redis_server)
    content = '\n[queues.a]\ndead_letter_queue = "there"\nmax_receive_count = 1'
    [line] = wrong(check(tmp_path, content, redis_url=redis_server.url))
    arn = "arn:aws:sqs:us-east-1:000000000000:there"
    assert line == f"DIR/questd.toml, line 2: [queues.a] its dead-letter queue {arn} is neither declared nor there"
    with redis_server.client() as client:
        client.fcall("sendMessage", 1, "there", "x")
    assert wrong(check(tmp_path, content, redis_url=redis_server.url)) == []


def test_a_dead_letter_queue_that_is_nowhere_in_a_new_server(tmp_path: Path) -> None:
    """A server that keeps nothing, or has kept nothing yet, has no queue that is not declared; one that ran may have."""
    content = '\n[queues.a]\ndead_letter_queue = "there"\nmax_receive_count = 1'
    for given in {"ephemeral": True}, {}:
        [line] = wrong(check(tmp_path, content, **given))
        assert line.startswith("DIR/questd.toml, line 2: [queues.a] its dead-letter queue arn:")
        assert line.endswith(":there is neither declared nor there")
    (tmp_path / "data").mkdir()
    server = next(servers())
    (tmp_path / "data" / "server").write_text(f"{server}\n")
    assert wrong(check(tmp_path, content)) == []


@pytest.mark.parametrize(
    ("allows", "said"),
    [
        ('{ redrivePermission = "denyAll" }', "does not allow this queue as its source."),
        (
            f'{{ redrivePermission = "byQueue", sourceQueueArns = ["{ARN}:b"] }}',
            "does not allow this queue as its source.",
        ),
        (f'{{ redrivePermission = "byQueue", sourceQueueArns = ["{ARN}:a"] }}', ""),
        ('""', ""),
    ],
)
def test_a_dead_letter_queue_that_takes_no_letters_in_a_new_server(tmp_path: Path, allows: str, said: str) -> None:
    """Of a new server it is told that a dead-letter queue is declared to refuse its source, as it will at start."""
    content = f'[queues.a]\ndead_letter_queue = "d"\nmax_receive_count = 1\n[queues.d]\nRedriveAllowPolicy = {allows}'
    lines = wrong(check(tmp_path, content, ephemeral=True))
    assert [line.startswith("DIR/questd.toml, line 1: [queues.a] ") and line.endswith(said) for line in lines] == (
        [True] if said else []
    )


@pytest.mark.parametrize(
    ("before", "declared_too", "refuses"),
    [
        ('[queues.d]\nRedriveAllowPolicy = { redrivePermission = "denyAll" }', "", True),
        (OTHERS_ONLY, "", True),
        (OTHERS_ONLY, "[queues.d]\nVisibilityTimeout = 9", True),
        (OTHERS_ONLY, '[queues.d]\nRedriveAllowPolicy = ""', False),
        ("[queues.d]", OTHERS_ONLY, True),
        (OTHERS_ONLY.replace(":b", ":a"), "", False),
        ("[queues.d]", "", False),
    ],
)
def test_a_dead_letter_queue_of_redis_that_takes_no_letters(
    redis_server: RedisServer, tmp_path: Path, before: str, declared_too: str, *, refuses: bool
) -> None:
    """Of a dead-letter queue that is in Redis it is told that it refuses its source, exactly when start would end so."""
    load(redis_server)
    assert made(redis_server, tmp_path, before) == []
    content = f'[queues.a]\ndead_letter_queue = "d"\nmax_receive_count = 1\n{declared_too}'
    told = wrong(check(tmp_path, content, redis_url=redis_server.url))
    assert [line.endswith("does not allow this queue as its source.") for line in told] == [True] * refuses
    assert told == made(redis_server, tmp_path, content)


def test_a_source_that_is_there_already(redis_server: RedisServer, tmp_path: Path) -> None:
    """A queue that is as it is declared starts whatever its dead-letter queue says by now, one to be changed does not."""
    load(redis_server)
    source = '[queues.a]\ndead_letter_queue = "d"\nmax_receive_count = 1\n'
    assert made(redis_server, tmp_path, f"{source}[queues.d]") == []
    assert made(redis_server, tmp_path, OTHERS_ONLY) == []
    for content, lines in (source, 0), (f"{source}VisibilityTimeout = 9", 1):
        told = wrong(check(tmp_path, content, redis_url=redis_server.url))
        assert len(told) == lines
        assert told == made(redis_server, tmp_path, content)


@pytest.mark.parametrize(("source", "target"), [("a", "d.fifo"), ("a.fifo", "d")])
def test_a_dead_letter_queue_of_another_type(
    redis_server: RedisServer, tmp_path: Path, source: str, target: str
) -> None:
    """A dead-letter queue that is in Redis and of another type than its source is wrong, as it is at start."""
    load(redis_server)
    assert made(redis_server, tmp_path, f'[queues."{target}"]') == []
    content = f'[queues."{source}"]\ndead_letter_queue = "{target}"\nmax_receive_count = 1'
    [line] = wrong(check(tmp_path, content, redis_url=redis_server.url))
    assert "Dead-letter queue must be same type of queue as the source" in line
    assert [line] == made(redis_server, tmp_path, content)


def test_another_library(redis_server: RedisServer, tmp_path: Path) -> None:
    """A newer library than ours is wrong; an older one will be replaced, and is not asked about queues."""
    with redis_server.client() as client:
        client.function_load(newer(source.version() + 1), replace=True)
        assert "loaded by a newer questd" in wrong(check(tmp_path, redis_url=redis_server.url))[0]
        client.function_load(newer(source.version() - 1), replace=True)
        lines = check(tmp_path, QUEUES, redis_url=redis_server.url)
        assert wrong(lines) == []
        assert any(f"{source.version()} will be loaded" in line for line in lines)
        client.function_flush()


def test_a_user_that_may_not_look(redis_server: RedisServer, tmp_path: Path) -> None:
    """What the Redis user may not do is told as the rule it lacks."""
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", "+ping")
        [line] = wrong(check(tmp_path, redis_url=redis_server.url.replace("//", "//narrow:secret@")))
        assert line.endswith("It lacks: +info")
        client.execute_command("ACL", "DELUSER", "narrow")


def test_the_example_of_the_help(tmp_path: Path) -> None:
    """The file that the help shows is right."""
    example = textwrap.dedent(checkup.HELP[checkup.HELP.index("  port") : checkup.HELP.index("A queue has")])
    lines = check(tmp_path, example)
    assert wrong(lines) == []
    assert "ok     queues: 3 declared in DIR/questd.toml" in lines


def test_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 0 when serve would start, with 1 and a line that says so when not."""
    assert main(["check", "--ephemeral"]) == 0
    output, said = capsys.readouterr()
    assert (output.count("ok  "), said) == (output.count("\n"), "")
    assert main(["check", "--data-dir", str(tmp_path), "--host", "0.0.0.0"]) == 1
    output, said = capsys.readouterr()
    assert "WRONG  on 0.0.0.0 anyone" in output
    assert said == "questd: serve would not start so\n"
