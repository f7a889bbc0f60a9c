"""Where questd may listen, and how it says why it cannot."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from questd.embedded import StartFailed
from questd.port import address_of, bind, check, tls
from questd.settings import Settings
from tests.boto import client_of
from tests.client import serving
from tests.servers import RedisServer, free_port


def test_a_port_is_taken_once() -> None:
    """A second questd on a port is refused with a line that names the port, also before the first serves."""
    settings = Settings(port=free_port())
    with bind(settings), pytest.raises(StartFailed, match=f"port {settings.port}: Address already in use.*--port"):
        bind(settings)


def test_one_port_for_two() -> None:
    """Queues and console cannot have the same port, but for any free one: that is said, not that something uses it."""
    with pytest.raises(StartFailed, match="--port and --console-port are both 9325: choose another"):
        check(Settings(port=9325, console_port=9325))
    check(Settings(port=0, console_port=0))
    check(Settings(port=9325, console_port="off"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port cannot be held for a server")
def test_a_free_port_of_the_tests_is_nobody_elses() -> None:
    """Tests run beside each other: what the system gives to others is never a port that a test is about to use."""
    ports = {free_port() for _ in range(100)}
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            other = stack.enter_context(socket.socket())
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", 0))
            assert other.getsockname()[1] not in ports


def test_where_a_socket_listens() -> None:
    """The address is one for a URL, an IPv6 one in brackets."""
    with bind(Settings(port=0)) as sock:
        assert address_of(sock) == f"127.0.0.1:{sock.getsockname()[1]}"
    with contextlib.suppress(StartFailed), bind(Settings(host="::1", port=0)) as sock:
        assert address_of(sock) == f"[::1]:{sock.getsockname()[1]}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_needs_no_leave(host: str) -> None:
    """On an address of this machine only, questd listens without more."""
    with bind(Settings(host=host, port=0)) as sock:
        assert sock.getsockname()[1] > 0


def test_a_public_address_needs_leave() -> None:
    """Beyond this machine questd listens only when that is spelt out."""
    with pytest.raises(StartFailed, match="--anonymous"):
        bind(Settings(host="0.0.0.0", port=0))
    with bind(Settings(host="0.0.0.0", port=0, anonymous=True)) as sock:
        assert sock.getsockname()[0] == "0.0.0.0"


def test_keys_are_leave_enough() -> None:
    """Where requests must be signed, questd listens beyond this machine."""
    with bind(Settings(host="0.0.0.0", port=0, keys="A:a secret of some length")) as sock:
        assert sock.getsockname()[0] == "0.0.0.0"


def test_an_unknown_host() -> None:
    """A host that is none of this machine's is told in one line, and that another host is wanted, not a port."""
    with pytest.raises(StartFailed, match=r"^cannot listen on 192\.0\.2\.1, port 0: .*\. Choose another --host"):
        bind(Settings(host="192.0.2.1", port=0, anonymous=True))
    with pytest.raises(StartFailed, match=r"^cannot listen on no\.such\.host\.invalid: "):
        bind(Settings(host="no.such.host.invalid", port=0))


def certify(folder: Path) -> dict[str, Path]:
    """Make a certificate that signs itself, and its key; the settings that name them."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    made = {"tls_cert": folder / "cert.pem", "tls_key": folder / "key.pem"}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command, "-out", made["tls_cert"], "-keyout", made["tls_key"]], check=True, capture_output=True)
    return made


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Path]:
    """Give the settings of a certificate."""
    return certify(tmp_path)


@pytest.mark.parametrize("front", ["listener", "aiohttp"])
async def test_https(redis_server: RedisServer, certificate: dict[str, Path], front: str) -> None:
    """With a certificate questd speaks TLS, boto3 trusts it, and URLs of queues say so; plain HTTP gets nothing."""
    async with serving(redis_server.url, front=front, **certificate) as sqs:
        url = sqs.url.replace("http:", "https:")
        client = client_of(url, verify=str(certificate["tls_cert"]))
        queue = (await asyncio.to_thread(client.create_queue, QueueName="q"))["QueueUrl"]
        assert queue == f"{url}/000000000000/q"
        body = "x" * 2**20
        await asyncio.to_thread(client.send_message, QueueUrl=queue, MessageBody=body)
        got = await asyncio.to_thread(client.receive_message, QueueUrl=queue, WaitTimeSeconds=1)
        assert got["Messages"][0]["Body"] == body
        with pytest.raises(aiohttp.ClientError):
            await sqs.ask("ListQueues")


def test_a_certificate_that_cannot_be_used(tmp_path: Path, certificate: dict[str, Path]) -> None:
    """No certificate, no key, another's, a key alone and one that asks for a passphrase are each told in one line."""
    (tmp_path / "none").write_text("nonsense")
    (tmp_path / "another").mkdir()
    other = certify(tmp_path / "another")["tls_key"]
    for given, told in (
        (certificate | {"tls_cert": tmp_path / "none"}, "--tls-cert .*/none has no certificate in it"),
        (
            {"tls_cert": certificate["tls_cert"]},
            "--tls-cert .*/cert.pem has no key in it.*name the file.*with --tls-key",
        ),
        (certificate | {"tls_key": tmp_path / "none"}, "--tls-key .*/none has no key in it"),
        (certificate | {"tls_key": other}, "the key in .*/another/key.pem is not that of --tls-cert .*/cert.pem"),
        ({"tls_key": certificate["tls_key"]}, "--tls-key is the key of a certificate"),
    ):
        with pytest.raises(StartFailed, match=f"^{told}"):
            tls(Settings.model_validate(given))
    encrypt = ["openssl", "pkey", "-in", str(certificate["tls_key"]), "-aes256", "-passout", "pass:word"]
    subprocess.run([*encrypt, "-out", tmp_path / "encrypted"], check=True, capture_output=True)
    with pytest.raises(StartFailed, match="--tls-key needs a passphrase"):
        tls(Settings.model_validate(certificate | {"tls_key": tmp_path / "encrypted"}))
    assert tls(Settings()) is None
    assert tls(Settings.model_validate(certificate))
