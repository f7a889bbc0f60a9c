"""Which Redis a URL names; and the main story over TLS, on one server and on a Cluster."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from questd import library, topology
from questd.cluster import Cluster
from questd.pipeline import RedisUnavailable
from questd.primaries import Primaries
from questd.sentinel import Sentinel
from tests.client import serving
from tests.servers import RedisServer, free_port, running

CERTIFICATE = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=questd -addext subjectAltName=IP:127.0.0.1"


async def test_kinds() -> None:
    """The scheme of a URL says what is there."""
    for url, kind in (
        ("redis://host", Primaries),
        ("unix:///run/redis.sock", Primaries),
        ("rediss+sentinel://host/main", Sentinel),
        ("redis+cluster://host", Cluster),
    ):
        assert type(topology.of(url)) is kind
    with pytest.raises(ValueError, match="scheme"):
        topology.of("http://host")


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


@pytest.fixture(params=["rediss", "rediss+cluster"])
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


async def test_tls(tls_url: str, certificate: Path) -> None:
    """Calls, wakes, the background task and loading go over TLS, with the client's own certificate and authority."""
    names = {"ssl_ca_certs": "cert", "ssl_certfile": "cert", "ssl_keyfile": "key"}
    url = f"{tls_url}?" + "&".join(f"{name}={certificate}/{file}.pem" for name, file in names.items())
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
