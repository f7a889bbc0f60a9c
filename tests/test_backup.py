"""Backups: taken while everything goes on, and all of it there again in a new data directory."""

import asyncio
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis

from questd import backup
from questd.embedded import Embedded, StartFailed
from questd.settings import Settings
from tests import release
from tests.client import Sqs
from tests.client import serving as serving_on
from tests.servers import running
from tests.test_embedded import started
from tests.test_main import said
from tests.test_workers import ROOT, serving


def raw_client(private: Embedded) -> Any:
    """Return a client of a private Redis that decodes nothing."""
    return redis.Redis(unix_socket_path=str(private.socket_path), protocol=2)


async def ran(*arguments: str) -> str:
    """Run the command line, which must succeed, while other tasks go on; return what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "questd", *arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def drained(sqs: Sqs, url: str) -> list[str]:
    """Take everything out of a queue; return the bodies in their order."""
    found: list[str] = []
    while messages := await sqs.receive(url, MaxNumberOfMessages=10):
        found += [message["Body"] for message in messages]
        entries = [{"Id": str(i), "ReceiptHandle": each["ReceiptHandle"]} for i, each in enumerate(messages)]
        await sqs("DeleteMessageBatch", QueueUrl=url, Entries=entries)
    return found


class Load:
    """One client that sends numbers to two queues in turn, and one that deletes what another queue has."""

    def __init__(self, sqs: Sqs) -> None:
        self._sqs = sqs
        self.sent = self.deleted = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Make the queues, and begin."""
        self._urls = [await self._sqs.create(f"{name}.fifo", FifoQueue="true") for name in ("first", "second", "done")]
        for number in range(0, 1000, 10):
            entries = [
                {"Id": str(i), "MessageBody": str(i), "MessageGroupId": str(i), "MessageDeduplicationId": str(i)}
                for i in range(number, number + 10)
            ]
            await self._sqs("SendMessageBatch", QueueUrl=self._urls[2], Entries=entries)
        self._tasks = [asyncio.create_task(work()) for work in (self._send, self._delete)]

    async def _send(self) -> None:
        while True:
            number = str(self.sent)
            for url in self._urls[:2]:
                message = {"MessageBody": number, "MessageGroupId": "g", "MessageDeduplicationId": number}
                await self._sqs("SendMessage", QueueUrl=url, **message)
            self.sent += 1

    async def _delete(self) -> None:
        while messages := await self._sqs.receive(self._urls[2]):
            await self._sqs("DeleteMessage", QueueUrl=self._urls[2], ReceiptHandle=messages[0]["ReceiptHandle"])
            self.deleted += 1

    async def reaches(self, sent: int, deleted: int) -> None:
        """Wait until so much has been done."""
        async with asyncio.timeout(60):
            while self.sent < sent or self.deleted < deleted:
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        """End, wherever it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


async def test_a_backup_under_load(tmp_path: Path) -> None:
    """It has all that was acknowledged before it began, at one moment for every queue, and is served again."""
    file, first, second = tmp_path / "backup.rdb", tmp_path / "first", tmp_path / "second"
    async with aiohttp.ClientSession() as session:
        with serving("--data-dir", str(first)) as questd:
            sqs = Sqs(questd.address, session)
            plain = await sqs.create("plain")
            await sqs.fill(plain, ["kept", "deleted"])
            received = await sqs.receive(plain, MaxNumberOfMessages=10, VisibilityTimeout=3600)
            handles = {message["Body"]: message["ReceiptHandle"] for message in received}
            await sqs("DeleteMessage", QueueUrl=plain, ReceiptHandle=handles["deleted"])
            load = Load(sqs)
            await load.begin()
            await load.reaches(20, 20)
            sent, deleted = load.sent, load.deleted
            said = await ran("backup", str(file), "--data-dir", str(first))
            assert said == f"questd: all that is in {first} was written to {file}\n"
            await load.reaches(load.sent + 1, load.deleted)
            await load.end()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not (first / "dump.rdb").exists()

        said = await ran("restore", str(file), "--data-dir", str(second))
        assert said == f"questd: restored, start it with: questd serve --data-dir {second}\n"
        with serving("--data-dir", str(second)) as questd:
            sqs = Sqs(questd.address, session)
            plain, *urls = [f"{questd.address}/000000000000/{name}" for name in ("plain", "first.fifo", "second.fifo")]
            done = f"{questd.address}/000000000000/done.fifo"
            assert await sqs.counts(plain) == (0, 1, 0)
            await sqs("DeleteMessage", QueueUrl=plain, ReceiptHandle=handles["kept"])
            assert await sqs.counts(plain) == (0, 0, 0)
            ahead, behind = [await drained(sqs, url) for url in urls]
            assert ahead == [str(number) for number in range(len(ahead))]
            assert behind == [str(number) for number in range(len(behind))]
            assert sent <= len(behind) <= len(ahead) <= len(behind) + 1
            assert sum(await sqs.counts(done)) <= 1000 - deleted


async def test_what_is_restored_stays(tmp_path: Path) -> None:
    """What comes after a restore is appended to it, and is there after a restart like the rest."""
    file = tmp_path / "backup.rdb"
    shown: list[str] = []
    with started(Settings(data_dir=tmp_path / "first")) as (_, client):
        client.mset({f"key {number}": "x" for number in range(20)})
        client.config_set("rdb-key-save-delay", 10_000)
        backup.take(tmp_path / "first", file, shown.append)
    assert shown
    assert all(text.startswith("key ") and text.endswith(" of 20") for text in shown)
    backup.restore(file, tmp_path / "second")
    for number in range(20, 23):
        with started(Settings(data_dir=tmp_path / "second")) as (_, client):
            assert client.dbsize() == number
            client.set(f"key {number}", "x")


async def test_a_redis_of_ones_own(tmp_path: Path) -> None:
    """What redis-cli --rdb writes is what a new server begins with, and what the private one can be made of."""
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not installed")
    file = tmp_path / "dump.rdb"
    with running() as server:
        async with serving_on(server.url) as sqs:
            url = await sqs.create()
            await sqs.fill(url, ["x", "y"])
            command = ["redis-cli", "-p", str(server.port), "--rdb", str(file)]
            await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    with running() as server:
        server.stop()
        shutil.copy(file, server.directory)
        server.start()
        with server.client() as client:
            client.config_set("appendonly", "yes")
        async with serving_on(server.url) as sqs:
            assert await sqs.counts(f"{sqs.url}/000000000000/q") == (2, 0, 0)
    backup.restore(file, tmp_path / "data")
    with started(Settings(data_dir=tmp_path / "data")) as (_, private):
        assert private.hlen("quest:{q}:messages") == 2


def test_of_the_first_release(tmp_path: Path) -> None:
    """A snapshot with every kind of key that questd stores comes back as it was."""
    file = tmp_path / "backup.rdb"
    with started(Settings(data_dir=tmp_path / "first")) as (private, _), raw_client(private) as client:
        release.restore(json.loads(release.KEYS.read_text())["keys"], lambda _: client)
        keys = release.kept(client)
        backup.take(tmp_path / "first", file, lambda _: None)
    backup.restore(file, tmp_path / "second")
    with started(Settings(data_dir=tmp_path / "second")) as (private, _), raw_client(private) as client:
        assert release.kept(client) == keys


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be backed up or restored is told in one line, and nothing is left behind."""
    data, file = tmp_path / "data", tmp_path / "file"
    assert "no questd runs on" in said(capsys, "backup", str(file), "--data-dir", str(data))
    assert "nothing was restored: " in said(capsys, "restore", str(file), "--data-dir", str(data))
    for content, text in (
        (b"nonsense", "is no snapshot"),
        (b"REDIS0011\xfa\x0avalkey-ver\x058.1.8\xfa\x0aredis-bits", "is not whole"),
        (b"VALKEY080\xfa\x0avalkey-ver\x059.1.2\xfa\x0aredis-bits", "is not whole"),
        (b"REDIS0099\xfa\x0avalkey-ver\x0599.1.8" + b"\xff" + bytes(8), "was written by valkey 99.1.8"),
    ):
        file.write_bytes(content)
        assert text in said(capsys, "restore", str(file), "--data-dir", str(data))
        assert not (data / "appendonlydir").exists()
    with started(Settings(data_dir=tmp_path / "other")):
        backup.take(tmp_path / "other", file, lambda _: None)
        with pytest.raises(StartFailed, match=r"no backup was made: .*No such file"):
            backup.take(tmp_path / "other", tmp_path / "missing" / "file", lambda _: None)
        assert not (tmp_path / "other" / "dump.rdb").exists()
        assert "is in use by process" in said(capsys, "restore", str(file), "--data-dir", str(tmp_path / "other"))
    assert "there is data in" in said(capsys, "restore", str(file), "--data-dir", str(tmp_path / "other"))
    monkeypatch.setenv("QUESTD_REDIS_URL", "redis://127.0.0.1")
    assert "redis-cli --rdb" in said(capsys, "backup", str(file))


def test_a_file_that_is_there_already(tmp_path: Path) -> None:
    """A backup is a file for its user only, whatever was there under its names, and nothing is written through a link."""
    victim, file = tmp_path / "victim", tmp_path / "file"
    for path in (victim, file):
        path.write_text("something else")
    (tmp_path / "file.part").symlink_to(victim)
    with started(Settings(data_dir=tmp_path / "data")):
        backup.take(tmp_path / "data", file, lambda _: None)
    assert victim.read_text() == "something else"
    assert file.read_bytes().startswith((b"REDIS", b"VALKEY"))
    assert file.lstat().st_mode == stat.S_IFREG | 0o600


def test_a_snapshot_that_fails(tmp_path: Path) -> None:
    """When the server cannot write its snapshot, that is said, and what there was under the name stays."""
    file = tmp_path / "backup.rdb"
    file.write_text("the one of yesterday")
    with started(Settings(data_dir=tmp_path / "data")) as (private, client):
        (tmp_path / "data" / "dump.rdb").mkdir()
        with pytest.raises(StartFailed, match=r"could not write it, server\.log says why"):
            backup.take(tmp_path / "data", file, lambda _: None)
        assert client.set("still", "written")
        assert private.data
    assert file.read_text() == "the one of yesterday"
