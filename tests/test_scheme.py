"""URLs with TLS and without: the main story over TLS, on one server and on a Cluster, and what a wrong scheme comes to."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from questd import library, scheme
from questd.pipeline import RedisUnavailable
from questd.scheme import WrongScheme
from tests.client import serving
from tests.servers import RedisServer, free_port, running
from tests.test_sentinel import answers, sentinel
from tests.waiting import until

CERTIFICATE = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=questd -addext subjectAltName=IP:127.0.0.1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a key and a certificate that nobody else has signed."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    command = [openssl, *CERTIFICATE.split(), "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module", params=["rediss", "rediss+cluster"])
def tls_url(certificate: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a server, or a Cluster of one, that speaks TLS beside the tests' plain port; gives its URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("the redis-server of Debian, which has TLS, is not installed")
    port, clustered = free_port(), request.param == "rediss+cluster"
    files = ("--tls-cert-file", f"{certificate}/cert.pem", "--tls-key-file", f"{certificate}/key.pem")
    options = ["--tls-port", str(port), *files, "--tls-ca-cert-file", f"{certificate}/cert.pem"]
    if clustered:
        options += ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--tls-cluster", "yes"]
    try:
        with running(binary, *options) as server:
            if clustered:
                own_all_slots(server)
            yield f"{request.param}://127.0.0.1:{port}"
    except redis.ConnectionError:
        pytest.skip(f"{binary} has no TLS")


def own_all_slots(server: RedisServer) -> None:
    """Make a node a whole cluster."""
    with server.client() as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            pass


def known(url: str, certificate: Path) -> str:
    """Return a URL with what its TLS needs."""
    names = {"ssl_ca_certs": "cert", "ssl_certfile": "cert", "ssl_keyfile": "key"}
    return f"{url}?" + "&".join(f"{name}={certificate}/{file}.pem" for name, file in names.items())


async def test_tls(tls_url: str, certificate: Path) -> None:
    """Calls, wakes, the background task and loading go over TLS, with the client's own certificate and authority."""
    url = known(tls_url, certificate)
    async with serving(url) as sqs:
        queue = await sqs.create()
        await sqs("SendMessage", QueueUrl=queue, MessageBody="x", DelaySeconds=60)
        poll = asyncio.create_task(sqs.receive(queue, WaitTimeSeconds=20))
        await asyncio.sleep(0.1)
        await sqs.advance(60)
        assert len(await asyncio.wait_for(poll, 3)) == 1
    await library.unload(url, force=False)


async def test_a_certificate_of_strangers(tls_url: str) -> None:
    """Without the authority's certificate the server is not trusted."""
    with pytest.raises((redis.ConnectionError, RedisUnavailable), match="CERTIFICATE_VERIFY_FAILED"):
        await library.load(tls_url, test_mode=False)


async def load(url: str) -> None:
    """Load the library into the Redis at a URL, as start does."""
    await scheme.checked(library.load(url, test_mode=True), url)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nobody who is slow."""
    monkeypatch.setattr(scheme, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(scheme, "ASK_SECONDS", 0.5)


@pytest.mark.parametrize("password", ["", "secret"])
async def test_no_tls_where_it_is_asked_for(redis_server: RedisServer, password: str) -> None:
    """A Redis without TLS is known as that long before a connection fails, also one that wants a password first."""
    with redis_server.client() as client:
        client.config_set("requirepass", password)
        try:
            with pytest.raises(WrongScheme, match=r"without TLS, which rediss:// asks for: use redis://,"):
                async with asyncio.timeout(3):
                    await load(f"rediss://127.0.0.1:{redis_server.port}/")
        finally:
            client.config_set("requirepass", "")


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
@pytest.mark.usefixtures("soon")
async def test_no_tls_on_any_of_several(redis_server: RedisServer, kind: str) -> None:
    """So are the nodes of a Cluster and Sentinels, when one of them answers so and none otherwise."""
    for nodes in f"127.0.0.1:{redis_server.port}", f"127.0.0.1:{redis_server.port},127.0.0.1:{free_port()}":
        with pytest.raises(WrongScheme, match=rf"use redis\+{kind}://,"):
            await load(f"rediss+{kind}://{nodes}" + "/main" * (kind == "sentinel"))


async def test_tls_where_it_is_not_asked_for(tls_url: str) -> None:
    """A Redis that speaks nothing but TLS is known as that, though it only hangs up."""
    url = tls_url.replace("rediss", "redis")
    with pytest.raises(
        WrongScheme, match=rf"with TLS only, it seems: use {tls_url.partition('//')[0].replace('+', '.')}//"
    ):
        await load(url)


def ready(port: int) -> None:
    """Wait for a Sentinel."""
    with redis.Redis(port=port, protocol=2) as client:
        until(lambda: answers(client, "SENTINEL", "MASTER", "main"))


@pytest.mark.usefixtures("soon")
async def test_sentinels_without_tls_and_a_primary_with(tls_url: str, tmp_path: Path) -> None:
    """Where Sentinels speak as their URL says and their primary does not, the primary is named, and what to do."""
    primary = int(tls_url.rpartition(":")[2])
    with sentinel(tmp_path, primary) as port:
        ready(port)
        said = rf"name, 127\.0\.0\.1:{primary}, answers, but with TLS only, .* watch its port without TLS, or use "
        with pytest.raises(WrongScheme, match=said):
            await load(f"redis+sentinel://127.0.0.1:{port}/main")


@pytest.mark.usefixtures("soon", "tls_url")
async def test_sentinels_with_tls_and_a_primary_without(
    redis_server: RedisServer, certificate: Path, tmp_path: Path
) -> None:
    """So it is the other way round, long before a connection fails."""
    port = free_port()
    files = {"cert-file": "cert", "key-file": "key", "ca-cert-file": "cert"}
    lines = [f"tls-{name} {certificate}/{file}.pem" for name, file in files.items()]
    binary = str(shutil.which("redis-server"))
    with sentinel(tmp_path, redis_server.port, f"tls-port {port}", *lines, binary=binary) as plain:
        ready(plain)
        said = rf"name, 127\.0\.0\.1:{redis_server.port}, answers, but without TLS, .* watch its port with TLS, or use "
        with pytest.raises(WrongScheme, match=said):
            async with asyncio.timeout(5):
                await load(known(f"rediss+sentinel://127.0.0.1:{port}/main", certificate))


@pytest.mark.usefixtures("soon")
async def test_slow_tls(tls_url: str, certificate: Path) -> None:
    """A Redis that takes its time for TLS gets it: that it is asked without TLS meanwhile is no harm."""
    await load(known(tls_url, certificate))


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@pytest.mark.parametrize("name", ["redis", "rediss"])
async def test_somebody_else(name: str, answer: bytes) -> None:
    """Who says nothing, or something else, is told of as ever."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises((RedisUnavailable, redis.RedisError)) as raised:
            await load(f"{name}://127.0.0.1:{port}?socket_connect_timeout=0.3&socket_timeout=0.3")
    assert not isinstance(raised.value, WrongScheme)


async def test_what_works(redis_server: RedisServer) -> None:
    """What comes of the work is given; its own failures stay as they are."""
    assert await scheme.checked(asyncio.sleep(0, "done"), redis_server.url) == "done"
    with pytest.raises(redis.AuthenticationError):
        await load(f"redis://:wrong@127.0.0.1:{redis_server.port}")
    with pytest.raises(redis.ConnectionError, match="Connect call failed"):
        await load(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(redis.ConnectionError, match="No such file"):
        await load("unix:///no/such/redis.sock")
