"""The client of the command line: where it asks, how it signs, and what it says when it gets no good answer."""

import asyncio
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import test_utils, web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from questd.client import LOCAL, endpoint_of, name_of, region_of, signed
from questd.terminal import Misused
from tests.client import serving
from tests.people import People, no_questd
from tests.servers import RedisServer, free_port
from tests.test_port import certify

SECRET = "a secret of some length"


def test_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag comes first, then the queue's own URL, then the variable, then this machine."""
    url = "https://sqs.eu-west-1.amazonaws.com/1/orders"
    monkeypatch.delenv("QUESTD_ENDPOINT", raising=False)
    assert endpoint_of(None, "") == endpoint_of(None, "orders") == LOCAL
    monkeypatch.setenv("QUESTD_ENDPOINT", "http://variable:1/")
    assert endpoint_of(None, "orders") == "http://variable:1"
    assert endpoint_of(None, url) == "https://sqs.eu-west-1.amazonaws.com"
    assert endpoint_of("http://flag:1/path/", url) == "http://flag:1/path"
    for wrong in ("localhost:9324", "http://", "http://h:99999", "http://h:x", "http://h:0", "http://[::1", "ftp://h"):
        with pytest.raises(Misused, match=f"{re.escape(wrong)} is no endpoint"):
            endpoint_of(wrong, "")


def test_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's addresses have a region in them; elsewhere it is that of the variables."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert region_of("https://sqs.eu-west-1.amazonaws.com") == "eu-west-1"
    assert region_of("https://sqs.cn-north-1.amazonaws.com.cn/1/q") == "cn-north-1"
    assert region_of("http://sqs.example.com") == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert region_of("http://localhost:9324") == "eu-north-1"
    monkeypatch.setenv("AWS_REGION", "eu-south-1")
    assert region_of("http://localhost:9324") == "eu-south-1"


def test_names() -> None:
    """A queue's name is the last part of its URL, and of its ARN."""
    assert name_of("http://h:1/0/orders") == name_of("arn:aws:sqs:r:0:orders") == name_of("orders") == "orders"


def test_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is signed as botocore signs it, with a session's token too; not at all without keys."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    endpoint, target = "https://sqs.eu-west-1.amazonaws.com:4443/some path", "AmazonSQS.SendMessage"
    assert "authorization" not in signed(endpoint, target, b"{}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    headers = signed(endpoint, target, b"{}")
    names = {"content-type": headers["content-type"], "x-amz-target": target, "host": urlsplit(endpoint).netloc}
    request = AWSRequest("POST", f"{endpoint}/", data=b"{}", headers=names)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials("AKID", SECRET, "token"), "sqs", "eu-west-1")
    request.headers["X-Amz-Date"] = headers["x-amz-date"]
    request.headers["X-Amz-Security-Token"] = "token"
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert headers["authorization"].endswith(f"Signature={auth.signature(text, request)}")


async def test_keys(redis_server: RedisServer, people: People, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A questd with access keys is asked with those of the variables; one without them says which are missing."""
    file = tmp_path / "keys.toml"
    file.write_text(
        f'[AKID]\nsecret = "{SECRET}"\n[SENDER]\nsecret = "{SECRET}"\nallow = ["*:SendMessage,GetQueueUrl"]'
    )
    file.chmod(0o600)
    async with serving(redis_server.url, keys_file=file) as locked:
        monkeypatch.setenv("QUESTD_ENDPOINT", locked.url)
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in await people.refused("queues")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
        await people("send", "--create", "orders", "x")
        assert [row["Queue"] for row in await people("queues")] == ["orders"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SENDER")
        await people("send", "orders", "x")
        line = await people.refused("peek", "orders")
        assert "AccessDenied" in line
        assert "sqs:receivemessage" in line
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong, but long enough")
        assert "InvalidSignature" in await people.refused("send", "orders", "x")


async def test_a_queue_by_its_url(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue's URL says which server to ask."""
    url = await people.sqs.create("orders")
    monkeypatch.setenv("QUESTD_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    await people("send", url, "x")
    assert [message["Body"] for message in await people("peek", url)] == ["x"]


async def test_no_queue(people: People) -> None:
    """A queue that is not there is named, with how to find those that are."""
    line = await people.refused("peek", "nowhere")
    assert line == f"questd: there is no queue nowhere at {people.sqs.url}: `questd queues` lists them\n"


async def test_no_server(people: People) -> None:
    """Where no server is, the line says how to start one."""
    url = f"http://127.0.0.1:{free_port()}"
    line = await people.refused("queues", "--endpoint", url)
    assert line.startswith(f"questd: no server at {url} (Connection refused): start one with `questd serve`")
    line = await people.refused("queues", "--endpoint", url.replace("http://", "http://me:secret@"))
    assert "secret" not in line
    line = await people.refused("queues", "--endpoint", "http://a.invalid:9324")
    assert re.match(r"questd: no server at http://a\.invalid:9324 \((?!Unknown error)[^)]+\): start one", line)


async def test_a_certificate_that_nobody_trusts(
    people: People, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a certificate that is not trusted it is said why, and how to trust it; so is a server that has no TLS."""
    certificate = certify(tmp_path)
    async with serving(redis_server.url, **certificate) as other:
        url = other.url.replace("http:", "https:")
        line = await people.refused("queues", "--endpoint", url)
        assert re.match(
            f"questd: the certificate of {url} is not trusted .self.signed certificate.: SSL_CERT_FILE", line
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate["tls_cert"]))
        assert await people.piped("queues", "--endpoint", url) == (0, "", "")
    url = people.sqs.url.replace("http:", "https:")
    line = await people.refused("queues", "--endpoint", url)
    assert line.startswith(f"questd: no TLS at {url} (")
    assert line.endswith("does it serve http:// only?\n")


async def test_no_sqs_server(people: People) -> None:
    """What answers and is no SQS server is told apart from one that is not there."""

    async def page(_http: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    app = web.Application()
    app.router.add_post("/", page)
    async with test_utils.TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        assert "is no SQS server: it answered 200" in await people.refused("queues", "--endpoint", url)


async def test_a_server_that_hangs_up(people: People) -> None:
    """A connection that ends without an answer is told as no server, with the reason."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        told = asyncio.create_task(people.refused("queues", "--endpoint", url))
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        connection.close()
        assert f"no server at {url} (" in await told


async def test_an_action_of_questds_own(people: People) -> None:
    """A server that is no questd cannot do what AWS has no action for, and that is what is said."""
    await people.sqs.create("orders")
    async with no_questd(people.sqs) as url:
        for command in ("peek", "pause", "resume", "tail"):
            line = await people.refused(command, "orders", "--endpoint", url)
            assert line.startswith(f"questd: {url} cannot do that: ")
