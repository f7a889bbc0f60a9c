"""The least a Redis user must be allowed: with just what docs/production.md names all works, and what lacks is told at start."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from questd import grants
from questd.pipeline import RedisUnavailable
from tests.client import ARN, Sqs, serving
from tests.clusters import cluster
from tests.servers import BINARIES, DEFAULT, RedisServer, running
from tests.test_sentinel import sentinel
from tests.waiting import until, until_so

PAGE = (Path(__file__).parent.parent / "docs" / "production.md").read_text()
URL = "redis://questd:password@127.0.0.1"


def rules(*more: str) -> list[str]:
    """Return the words that the page gives to ACL SETUSER questd; `more`: for a `cluster`, for `durability`."""
    found = re.search(r"<!-- acl -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert found
    *lines, cluster, durability = found[1].splitlines()
    lines += [{"cluster": cluster, "durability": durability}[name] for name in more]
    return [word for line in lines for word in line.split()[3:]]


@pytest.fixture(params=BINARIES)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Run each server that is installed, with the page's user."""
    binary = BINARIES[request.param]
    if binary is None:
        pytest.skip(f"{request.param} is not installed")
    with running(binary) as started, started.client() as client:
        client.execute_command("ACL SETUSER", "questd", *rules())
        yield started


async def story(sqs: Sqs, name: str, dead: str) -> None:
    """Do a little of everything: both kinds of queues, fair ones too, dead letters, a move task, purge, delete."""
    await sqs.create(dead)
    await sqs.create(name, RedrivePolicy=json.dumps({"deadLetterTargetArn": f"{ARN}:{dead}", "maxReceiveCount": 1}))
    await sqs("TagQueue", QueueUrl=name, Tags={"a": "b"})
    await sqs("SendMessage", QueueUrl=name, MessageBody="x", MessageGroupId="tenant")
    [message] = await sqs.receive(name, WaitTimeSeconds=1)
    handle = {"QueueUrl": name, "ReceiptHandle": message["ReceiptHandle"]}
    await sqs("ChangeMessageVisibility", **handle, VisibilityTimeout=0)
    assert await sqs.receive(name) == []
    await sqs("SendMessage", QueueUrl=name, MessageBody="x", DelaySeconds=1)

    async def dead_lettered() -> bool:
        return await sqs.counts(dead) == (1, 0, 0)

    await until_so(dead_lettered)
    await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:{dead}")

    async def moved_back() -> bool:
        return (await sqs.counts(dead), (await sqs.counts(name))[0] >= 1) == ((0, 0, 0), True)

    await until_so(moved_back)
    messages = [*await sqs.receive(name, WaitTimeSeconds=5), *await sqs.receive(name, WaitTimeSeconds=5)]
    for each in messages:
        await sqs("DeleteMessage", QueueUrl=name, ReceiptHandle=each["ReceiptHandle"])
    assert len(messages) == 2
    assert len((await sqs("ListQueues"))["QueueUrls"]) == 2
    await sqs("PurgeQueue", QueueUrl=name)
    await sqs("DeleteQueue", QueueUrl=name)
    fifo = await sqs.create("f.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    await sqs("SendMessage", QueueUrl=fifo, MessageBody="x", MessageGroupId="g")
    [message] = await sqs.receive(fifo, ReceiveRequestAttemptId="a")
    await sqs("DeleteMessage", QueueUrl=fifo, ReceiptHandle=message["ReceiptHandle"])
    await sqs("DeleteQueue", QueueUrl=fifo)


async def test_the_readme_names_enough(server: RedisServer) -> None:
    """The user of the page is enough for a story of all that questd does, and passes the check."""
    url = f"{URL}:{server.port}"
    await grants.load(url, test_mode=False)
    async with serving(url, test_mode=False) as sqs:
        await story(sqs, "q", "dead")
    with server.client() as client:
        assert not [entry for entry in client.acl_log() if entry["username"] == "questd" and wanted(entry)]
        assert client.keys("*grants*") == []


def wanted(entry: dict[str, str]) -> bool:
    """Tell whether something was refused that questd wanted; redis-py tells its name, where that is allowed."""
    return entry["object"] != "client|setinfo"


@pytest.mark.parametrize("name", BINARIES)
async def test_the_readme_names_enough_for_a_cluster(name: str) -> None:
    """With the line for it the user is enough for a Cluster too, of each server that is installed."""
    binary = BINARIES[name]
    if binary is None:
        pytest.skip(f"{name} is not installed")
    with cluster(3, binary=binary) as servers:
        known = b"waitaof" in servers.primaries[0].client.command_list()  # not to Redis 7.0
        given = [rule for rule in rules("cluster") if known or rule != "+waitaof"]
        for node in servers.primaries:
            node.client.execute_command("ACL SETUSER", "questd", *given)
        url = servers.url.replace("://", "://questd:password@")
        await grants.load(url, test_mode=False)
        async with serving(url, test_mode=False) as sqs:
            await story(sqs, servers.name_at(0), servers.name_at(1))
        for node in servers.primaries:
            assert not [entry for entry in node.client.acl_log() if entry["username"] == "questd" and wanted(entry)]


async def test_the_readme_names_enough_for_a_sentinel(tmp_path: Path) -> None:
    """With +role the user is enough for a primary that a Sentinel names; without, the start says so."""
    with running(DEFAULT) as primary, primary.client() as client, sentinel(tmp_path, primary.port) as port:
        client.execute_command("ACL SETUSER", "questd", *rules())
        url = f"redis+sentinel://questd:password@127.0.0.1:{port}/main"
        with pytest.raises(grants.GrantsMissing, match=r" It lacks: \+role$"):
            await until_loaded(url)
        client.execute_command("ACL SETUSER", "questd", "+role")
        client.acl_log_reset()
        await grants.load(url, test_mode=False)
        async with serving(url, test_mode=False) as sqs:
            await story(sqs, "q", "dead")
        assert not [entry for entry in client.acl_log() if entry["username"] == "questd" and wanted(entry)]


async def until_loaded(url: str) -> None:
    """Load the library as soon as a Sentinel has started."""

    async def loaded() -> bool:
        try:
            await grants.load(url, test_mode=False)
        except RedisUnavailable:
            return False
        return True

    await until_so(loaded)


@pytest.mark.parametrize(("durability", "options"), [("always", ("--appendonly", "yes")), ("replicated", ())])
async def test_the_readme_names_enough_for_durability(durability: str, options: tuple[str, ...]) -> None:
    """With the line for it the user is enough for a questd that waits for the disk or for replicas."""
    with running(DEFAULT, "--repl-diskless-sync-delay", "0", *options) as server, server.client() as client:
        client.execute_command("ACL SETUSER", "questd", *rules("durability"))
        url = f"{URL}:{server.port}"
        with running(DEFAULT, "--replicaof", f"127.0.0.1 {server.port}"):
            until(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
            async with serving(url, test_mode=False, durability=durability) as sqs:
                await story(sqs, "q", "dead")
        assert not [entry for entry in client.acl_log() if entry["username"] == "questd" and wanted(entry)]


def test_the_readme_names_no_more() -> None:
    """Every rule of the page is of a command that is used and tried."""
    tried = {str(command[0]).lower() for command in grants.COMMANDS}
    in_lua = set(re.findall(r"\{'([A-Z]+)'", (files("questd") / "lua" / "grants.lua").read_text()))
    needed = tried | {name.lower() for name in in_lua} | {"fcall", "function|load"}
    assert {rule[1:] for rule in rules() if rule.startswith("+")} == needed


def test_every_command_of_the_library_is_tried() -> None:
    """What any Lua file calls, quest_grants tries."""
    folder = files("questd") / "lua"
    texts = {path.name: path.read_text() for path in folder.iterdir() if path.name.endswith(".lua")}
    tried = set(re.findall(r"\{'([A-Z]+)'", texts.pop("grants.lua")))
    called = {name for text in texts.values() for name in re.findall(r"redis\.p?call\((?:push or )?'([A-Z]+)'", text)}
    assert called <= tried


@pytest.mark.parametrize(
    ("taken", "lacking"),
    [
        (["-zcount"], "+zcount"),
        (["-hset", "-subscribe", "resetchannels"], "&quest:* +hset +subscribe"),
        (["-fcall"], "+fcall"),
        (["-function|load"], "+function|load"),
        (["resetkeys"], "~quest:*"),
    ],
)
async def test_what_is_missing_is_told(server: RedisServer, taken: list[str], lacking: str) -> None:
    """With less the library is not for use, and all that the user lacks is named."""
    if taken == ["-function|load"] and "valkey" not in server.binary:
        taken = ["-function"]  # Redis 7.0 takes no subcommand off that was given alone
    with server.client() as client:
        client.execute_command("ACL SETUSER", "questd", *taken)
    with pytest.raises(grants.GrantsMissing, match=f" It lacks: {re.escape(lacking)}$"):
        await grants.load(f"{URL}:{server.port}", test_mode=False)


def test_questd_does_not_start_with_less(redis_server: RedisServer) -> None:
    """One line says what the user lacks, without the password."""
    with redis_server.client() as client:
        client.execute_command("ACL SETUSER", "questd", *rules(), "-zcount")
        command = [sys.executable, "-m", "questd", "serve", "--port", "0"]
        environment = os.environ | {"QUESTD_REDIS_URL": f"{URL}:{redis_server.port}"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)
        client.execute_command("ACL DELUSER", "questd")
    assert (result.returncode, result.stdout) == (1, "")
    wish = "this Redis user may not do all that questd does. It lacks: +zcount"
    assert result.stderr == f"questd: redis://***@127.0.0.1:{redis_server.port}: {wish}\n"
