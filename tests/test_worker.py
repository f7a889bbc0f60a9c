"""Workers replaced under load, and settings read again: no request is refused, reset or lost."""

import asyncio
import os
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from questd.connection import DRAIN_SECONDS
from tests.servers import DEFAULT, running
from tests.test_connection import statuses
from tests.test_port import certify
from tests.test_workers import Questd, alive, serving
from tests.waiting import until

ASK = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n\r\n"


def _address(questd: Questd) -> tuple[str, int]:
    host, _, port = questd.address.partition("://")[2].partition(":")
    return host, int(port)


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
    return head


async def _ask_on(questd: Questd, stop: asyncio.Event, *, keep: bool) -> int:
    """Ask again and again, on one connection as long as the server keeps it; how often. Nothing is tried twice."""
    count = 0
    while not stop.is_set():
        reader, writer = await asyncio.open_connection(*_address(questd))
        while not stop.is_set():
            writer.write(ASK)
            head = await _answer(reader)
            assert statuses(head) == [200]
            count += 1
            if b"Connection: close" in head or not keep:
                break
            await asyncio.sleep(0.001)
        writer.close()
    return count


@pytest.mark.parametrize("front", ["listener", "aiohttp"])
async def test_workers_are_replaced_under_load(front: str) -> None:
    """SIGUSR2 replaces every worker, one by one, and clients notice nothing; a long poll ends with nothing."""
    with serving("--ephemeral", "--workers", "2", "--front", front) as questd:
        old = questd.pids("serve")
        stop = asyncio.Event()
        clients = [asyncio.create_task(_ask_on(questd, stop, keep=i < 6)) for i in range(8)]
        reader, writer = await asyncio.open_connection(*_address(questd))
        body = b'{"QueueUrl":"q","WaitTimeSeconds":20}'
        writer.write(ASK.replace(b"ListQueues", b"CreateQueue\r\nContent-Length: 17")[:-2] + b'\r\n{"QueueName":"q"}')
        await _answer(reader)
        writer.write(ASK.replace(b"ListQueues", b"ReceiveMessage\r\nContent-Length: %d" % len(body)) + body)
        await asyncio.to_thread(until, lambda: questd.redis().exists("quest:{q}:waiting"))
        questd.process.send_signal(signal.SIGUSR2)
        await asyncio.to_thread(until, lambda: not any(map(alive, old)), 2 * DRAIN_SECONDS + 10)
        stop.set()
        assert min(await asyncio.gather(*clients)) > 10
        assert statuses(await _answer(reader)) == [200]
        writer.close()
        assert sum(map(alive, questd.pids("serve"))) == 2
        assert "ended with status" not in questd.errors.read_text()


def test_a_handshake_is_finished(tmp_path: Path) -> None:
    """A worker that is replaced finishes a TLS handshake that it has begun, and answers what comes of it."""
    certificate = certify(tmp_path)
    paths = [part for name, path in certificate.items() for part in (f"--{name.replace('_', '-')}", str(path))]
    trusting = ssl.create_default_context(cafile=certificate["tls_cert"])
    with serving("--ephemeral", *paths) as questd:
        [old] = questd.pids("serve")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        with socket.create_connection(_address(questd)) as client:
            client.sendall(outgoing.read())
            incoming.write(client.recv(65536))
            questd.process.send_signal(signal.SIGUSR2)
            until(lambda: f"worker {old} gives way" in questd.errors.read_text())
            for _ in range(20):
                assert alive(old)
                time.sleep(0.02)
            hello.do_handshake()
            hello.write(ASK)
            client.sendall(outgoing.read())
            said = b""
            while not said:
                incoming.write(client.recv(65536))
                with suppress(ssl.SSLWantReadError):
                    said = hello.read()
        assert statuses(said) == [200]


def test_the_console_is_replaced() -> None:
    """SIGUSR2 replaces the console too: its port answers all the time."""
    with serving("--ephemeral", "--console-port", "0") as questd:
        until(lambda: questd.lives(questd.console))
        [old] = questd.pids("observe")
        questd.process.send_signal(signal.SIGUSR2)
        while alive(old):
            assert questd.lives(questd.console)
        assert sum(map(alive, questd.pids("observe"))) == 1
        assert questd.lives(questd.console)
        said = questd.errors.read_text()
        assert "ended with status" not in said
        assert "Traceback" not in said


def test_settings_are_read_again(tmp_path: Path) -> None:
    """SIGHUP gives the settings of the file to new workers; a wrong file changes nothing, some need a restart."""
    config = tmp_path / "questd.toml"
    config.write_text("workers = 1\n")
    with serving("--ephemeral", "--config", str(config), workers=()) as questd:

        def reload(text: str, said: str) -> None:
            config.write_text(text)
            questd.process.send_signal(signal.SIGHUP)
            until(lambda: said in questd.errors.read_text())

        [first] = questd.pids("serve")
        reload("workers = 0\n", "the settings stay as they are: workers in")
        assert alive(first)
        reload('workers = 2\nmaxmemory = "1gb"\n', "a restart is needed for a new maxmemory")
        until(lambda: not alive(first) and sum(map(alive, questd.pids("serve"))) == 2, DRAIN_SECONDS + 10)
        assert questd.lives()
        reload("workers = 1\n", "the settings were read again")
        until(lambda: sum(map(alive, questd.pids("serve"))) == 1, 2 * DRAIN_SECONDS + 10)
        assert questd.lives()


def test_durability_is_read_again(tmp_path: Path) -> None:
    """SIGHUP changes the durability on a Redis that can give it; on another, and on questd's own, all stays as it is."""
    config = tmp_path / "questd.toml"

    def reload(questd: Questd, text: str, said: str) -> None:
        before = questd.errors.read_text().count(said)
        config.write_text(text)
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: questd.errors.read_text().count(said) > before, DRAIN_SECONDS + 10)
        assert questd.lives()

    def send(questd: Questd) -> None:
        for action in ("CreateQueue&QueueName=q", "SendMessage&QueueUrl=q&MessageBody=x"):
            urllib.request.urlopen(f"{questd.address}/?Action={action}", timeout=5).close()

    config.write_text("")
    with (
        running(DEFAULT, "--appendonly", "yes") as server,
        server.client() as client,
        serving("--redis-url", server.url, "--config", str(config)) as questd,
    ):
        send(questd)
        assert "cmdstat_waitaof" not in client.info("commandstats")
        [old] = questd.pids("serve")
        reload(questd, 'durability = "always"', "the settings were read again")
        until(lambda: not alive(old), DRAIN_SECONDS + 10)
        send(questd)
        assert client.info("commandstats")["cmdstat_waitaof"]["calls"] >= 2
        client.config_set("appendonly", "no")
        reload(questd, 'durability = "always"\nregion = "eu-one-1"', "no worker is replaced")
        assert "Redis cannot be used: this Redis has no append-only file" in questd.errors.read_text()
    with serving("--data-dir", str(tmp_path / "data"), "--config", str(config)) as questd:
        reload(questd, 'durability = "replicated"', "the settings stay as they are: --durability replicated needs")
        reload(questd, 'durability = "everysec"', "a restart is needed for a new durability")


def test_a_durability_that_redis_cannot_give_changes_nothing(tmp_path: Path) -> None:
    """After SIGHUP with a promise that Redis cannot keep a worker that dies is replaced, with the settings before."""
    config = tmp_path / "questd.toml"
    config.write_text("")
    with running(DEFAULT) as server, serving("--redis-url", server.url, "--config", str(config)) as questd:
        config.write_text('durability = "always"')
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: "the settings stay as they are: redis://" in questd.errors.read_text())
        [worker] = questd.pids("serve")
        os.kill(worker, signal.SIGKILL)
        until(lambda: len(questd.pids("serve")) == 2 and questd.lives())
        assert "cannot begin" not in questd.errors.read_text()


def _region(questd: Questd) -> str:
    """Return the region that a worker has."""
    parameters = "Action=GetQueueAttributes&AttributeName.1=QueueArn"
    with urllib.request.urlopen(f"{questd.address}/000000000000/q?{parameters}", timeout=5) as answer:
        text: str = answer.read().decode()
        return text.partition("arn:aws:sqs:")[2].partition(":")[0]


def test_settings_are_read_again_while_they_are_read(tmp_path: Path) -> None:
    """A SIGHUP in the middle of a replacement counts for every worker; fewer of them leave nobody behind."""
    config = tmp_path / "questd.toml"

    def reload(workers: int, region: str) -> None:
        config.write_text(f'workers = {workers}\nregion = "{region}"\n')
        questd.process.send_signal(signal.SIGHUP)

    config.write_text("workers = 2\n")
    with serving("--ephemeral", "--config", str(config), workers=()) as questd:
        urllib.request.urlopen(f"{questd.address}/?Action=CreateQueue&QueueName=q", timeout=5).close()
        for workers, region in ((2, "eu-two-2"), (1, "eu-three-3")):
            before = len(questd.pids("serve"))
            reload(2, "eu-one-1")
            until(lambda before=before: len(questd.pids("serve")) > before)  # type: ignore[misc]
            reload(workers, region)
            until(
                lambda workers=workers, region=region: (  # type: ignore[misc]
                    sum(map(alive, questd.pids("serve"))) == workers
                    and {_region(questd) for _ in range(20)} == {region}
                ),
                2 * DRAIN_SECONDS + 20,
            )


def test_a_worker_that_does_not_start_replaces_nobody(tmp_path: Path) -> None:
    """When no new worker can be made ready, the old ones go on."""
    program = (
        "import os, sys; from questd import __main__, server\n"
        "serve = server.serve\n"
        "async def once(*given, **more):\n"
        f"    if os.path.exists({str(tmp_path / 'broken')!r}): raise SystemExit(9)\n"
        "    await serve(*given, **more)\n"
        "server.serve = once; sys.exit(__main__.main())"
    )
    with serving("--ephemeral", "--workers", "2", command=("-c", program)) as questd:
        old = questd.pids("serve")
        (tmp_path / "broken").touch()
        questd.process.send_signal(signal.SIGUSR2)
        until(lambda: "before it was ready: no worker is replaced" in questd.errors.read_text())
        assert all(map(alive, old))
        (tmp_path / "broken").unlink()
        os.kill(old[0], signal.SIGKILL)
        until(lambda: sum(map(alive, questd.pids("serve"))) == 2)
        assert questd.lives()


@pytest.mark.parametrize("lacking", ["fork", "pipe"])
def test_no_process_can_be_started(tmp_path: Path, lacking: str) -> None:
    """When the system has nothing to spare, the workers that there are go on, and one that died comes back later."""
    full = tmp_path / "full"
    program = (
        "import os, sys; from questd import __main__\n"
        f"given = os.{lacking}\n"
        "def limited():\n"
        f"    if os.path.exists({str(full)!r}): raise OSError(11, 'nothing to spare')\n"
        "    return given()\n"
        f"os.{lacking} = limited; sys.exit(__main__.main())"
    )
    with serving("--ephemeral", "--workers", "2", command=("-c", program)) as questd:
        old = questd.pids("serve")
        full.touch()
        questd.process.send_signal(signal.SIGUSR2)
        until(lambda: "no worker is replaced" in questd.errors.read_text())
        assert all(map(alive, old))
        os.kill(old[0], signal.SIGKILL)
        until(lambda: questd.errors.read_text().count("no process can be started: nothing to spare") >= 3)
        assert questd.lives()
        full.unlink()
        until(lambda: sum(map(alive, questd.pids("serve"))) == 2, 10)
        assert alive(old[1])
        assert questd.lives()


def _status(questd: Questd, name: str) -> int:
    """Return the status of a request that the key `name` signed."""
    request = AWSRequest("GET", f"{questd.address}/?Action=ListQueues")
    SigV4QueryAuth(Credentials(name, f"the secret of {name}"), "sqs", "us-east-1").add_auth(request)
    try:
        with urllib.request.urlopen(str(request.url), timeout=5) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_keys_are_read_again(tmp_path: Path) -> None:
    """SIGHUP takes keys away and brings new ones; a file that cannot be used changes nothing. No secret is told."""
    keys = tmp_path / "keys.toml"

    def write(name: str) -> None:
        keys.write_text(f'[{name}]\nsecret = "the secret of {name}"\n')
        keys.chmod(0o600)

    write("OLD")
    with serving("--ephemeral", "--keys-file", str(keys)) as questd:
        [first] = questd.pids("serve")
        assert [_status(questd, name) for name in ("OLD", "NEW")] == [200, 403]
        keys.chmod(0o644)
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: "the settings stay as they are" in questd.errors.read_text())
        assert "chmod 600" in questd.errors.read_text()
        write("NEW")
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: not alive(first), DRAIN_SECONDS + 10)
        assert [_status(questd, name) for name in ("OLD", "NEW")] == [403, 200]
        assert "secret of" not in questd.errors.read_text()


def test_keys_stay_where_everybody_could_come_in(tmp_path: Path) -> None:
    """SIGHUP does not take the last key away where others than this machine's reach questd."""
    config = tmp_path / "questd.toml"
    config.touch(0o600)
    config.write_text('host = "0.0.0.0"\nkeys = "OLD:the secret of OLD"\n')
    with serving("--ephemeral", "--config", str(config)) as questd:
        config.write_text('host = "0.0.0.0"\nanonymous = true\n')
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: "the settings" in questd.errors.read_text())
        assert "the settings stay as they are: on 0.0.0.0 anyone who reaches this machine" in questd.errors.read_text()
        assert [_status(questd, name) for name in ("OLD", "NEW")] == [200, 403]


def test_certificates_are_read_again(tmp_path: Path) -> None:
    """SIGHUP brings a new certificate to new connections; one that cannot be used changes nothing."""
    made = certify(tmp_path)
    cert, key = str(made["tls_cert"]), str(made["tls_key"])
    with serving("--ephemeral", "--tls-cert", cert, "--tls-key", key) as questd:
        port = int(questd.address.rpartition(":")[2])

        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", port), timeout=5).strip()

        first = made["tls_cert"].read_text().strip()
        assert shown() == first
        made["tls_cert"].write_text("nonsense")
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: "the settings stay as they are" in questd.errors.read_text())
        assert shown() == first
        second = certify(tmp_path)["tls_cert"].read_text().strip()
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: shown() == second, DRAIN_SECONDS + 10)
        assert second != first
