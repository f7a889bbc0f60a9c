"""Each bad input that has a name, over HTTP on both fronts: what AWS answers, quickly, and nothing has changed."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis

from questd.actions import ACTIONS
from tests.client import JSON, Sqs
from tests.requests import form, right
from tests.servers import RedisServer, running
from tests.test_fuzz import DIGEST, SECONDS

MIB = 2**20
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Watched:
    """A client, and what Redis holds."""

    def __init__(self, sqs: Sqs, redis_server: RedisServer) -> None:
        self.sqs = sqs
        self.redis = redis_server.client()
        self._digest = self.redis.register_script(DIGEST)

    def digest(self) -> bytes:
        """Return a digest of what Redis holds."""
        found: bytes = self._digest()
        return found

    def values(self) -> list[Any]:
        """Return every field of every hash, and every key."""
        keys = self.redis.keys("*")
        return [keys, *(self.redis.hgetall(key) for key in keys if self.redis.type(key) == b"hash")]

    async def refused(self, body: bytes, headers: dict[str, str], path: str = "/") -> tuple[int, bytes]:
        """Post what is to be refused; status and body, once it is sure that nothing has changed."""
        before, begun = self.digest(), time.process_time()
        reply = await self.sqs.post(body, headers, path)
        assert time.process_time() - begun < SECONDS
        assert 400 <= reply.status < 500, reply.body
        assert self.digest() == before
        return reply.status, reply.body


@pytest.fixture
async def watched(sqs: Sqs, redis_server: RedisServer) -> AsyncIterator[Watched]:
    """Give a client of a questd with the queue `q` and a message in it."""
    await sqs.create("dead")
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    found = Watched(sqs, redis_server)
    yield found
    found.redis.close()


ON_LISTENER = pytest.mark.parametrize("sqs", ["listener"], indirect=True)
"""For what is read behind the fronts."""


def targeted(action: str) -> dict[str, str]:
    """Return the headers of a request in JSON."""
    return {**JSON, "X-Amz-Target": f"AmazonSQS.{action}"}


LAUGHS = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
XML_BOMB = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "ha">{LAUGHS}<!ENTITY f SYSTEM "file:///etc/passwd">]><l>&l9;&f;</l>'


@pytest.mark.parametrize("content_type", ["text/xml", "application/soap+xml", "application/x-www-form-urlencoded"])
async def test_an_xml_bomb(watched: Watched, content_type: str) -> None:
    """XML that comes in is read by nobody: no entity of it is expanded or fetched."""
    status, body = await watched.refused(XML_BOMB.encode(), {"Content-Type": content_type})
    assert (status, body) == (404, b"<UnknownOperationException/>")


LONG = 8 * MIB - 100
JSON_BOMBS = {
    "lists": b"[" * LONG,
    "objects": b'{"a":' * (LONG // 5),
    "lists in a member": b'{"QueueUrl":"q","MessageBody":' + b"[" * (LONG - 40),
    "a million keys": b'{"QueueUrl":"q",' + b",".join(b'"%d":1' % i for i in range(700_000)) + b"}",
    "a million keys of a map": b'{"QueueUrl":"q","MessageBody":"x","MessageAttributes":{'
    + b",".join(b'"%d":{}' % i for i in range(600_000))
    + b"}}",
    "the same key": b'{"QueueUrl":"q","MessageBody":"x"' + b',"DelaySeconds":901' * 400_000 + b"}",
    "a number of 100 000 digits": b'{"QueueUrl":"q","MessageBody":"x","DelaySeconds":' + b"9" * 100_000 + b"}",
    "a number of millions of digits": b'{"QueueUrl":"q","MessageBody":"x","DelaySeconds":' + b"9" * (LONG - 60) + b"}",
    "a number as text": b'{"QueueUrl":"q","MessageBody":"x","DelaySeconds":"' + b"9" * 100_000 + b'"}',
    "an exponent": b'{"QueueUrl":"q","MessageBody":"x","DelaySeconds":1e999999999}',
    "NaN": b'{"QueueUrl":"q","MessageBody":"x","DelaySeconds":NaN}',
    "a million entries": b'{"QueueUrl":"q","Entries":[' + b",".join([b"{}"] * 2_000_000) + b"]}",
    "a million names": b'{"QueueUrl":"q","MessageBody":"x","MessageAttributes":['
    + b",".join([b"[]"] * 2_000_000)
    + b"]}",
    "escapes": b'{"QueueUrl":"q","MessageBody":"' + b"\\u0041" * (LONG // 6 - 10) + b'"}',
}


@ON_LISTENER
@pytest.mark.parametrize("bomb", JSON_BOMBS)
@pytest.mark.parametrize("action", ["SendMessage", "SendMessageBatch"])
async def test_a_json_bomb(watched: Watched, bomb: str, action: str) -> None:
    """JSON that is deep, wide or long, as much as a body may hold, is refused in a fraction of a second."""
    await watched.refused(JSON_BOMBS[bomb], targeted(action))


INNER = {
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "a number": '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q","maxReceiveCount":'
    + "9" * 100_000
    + "}",
    "a number that Python cannot write": '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q","maxReceiveCount":'
    + "9" * 4299
    + "}",
    "NaN": '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q","maxReceiveCount":NaN}',
    "wide": json.dumps(dict.fromkeys(map(str, range(300_000)))),
}


@ON_LISTENER
@pytest.mark.parametrize("bomb", INNER)
@pytest.mark.parametrize("name", ["Policy", "RedrivePolicy", "RedriveAllowPolicy"])
async def test_a_json_bomb_in_an_attribute(watched: Watched, name: str, bomb: str) -> None:
    """The same within the text of an attribute that is JSON itself."""
    body = json.dumps({"QueueUrl": "q", "Attributes": {name: INNER[bomb]}}).encode()
    await watched.refused(body, targeted("SetQueueAttributes"))


FORM_BOMBS = {
    "parameters": b"&".join(b"a%d=1" % i for i in range(700_000)),
    "ampersands": b"&" * LONG,
    "percents": b"Action=SendMessage&QueueUrl=q&DelaySeconds=" + b"%" * (LONG - 60),
    "dots": b"Action=SendMessage&QueueUrl=q&" + b"." * (LONG - 60) + b"=1",
    "depth": b"Action=SendMessage&QueueUrl=q&" + b"a." * (LONG // 2 - 60) + b"b=1",
    "numbers": b"Action=SendMessageBatch&QueueUrl=q&SendMessageBatchRequestEntry." + b"9" * (LONG - 90) + b".Id=1",
    "a long Action": b"Action=" + b"x" * (LONG - 10),
}


@ON_LISTENER
@pytest.mark.parametrize("bomb", FORM_BOMBS)
async def test_a_bomb_of_parameters(watched: Watched, bomb: str) -> None:
    """A form of millions of parameters, or of names that never end, is refused in a fraction of a second."""
    await watched.refused(FORM_BOMBS[bomb], FORM)


def texts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where in a request there are texts."""
    if isinstance(value, str):
        return [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in pairs for found in texts(inner, (*path, key))]


def replaced(members: dict[str, Any], path: tuple[Any, ...], text: str) -> dict[str, Any]:
    """Return members with another text at one place."""
    copy: Any = json.loads(json.dumps(members))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = text
    return dict(copy)


@ON_LISTENER
@pytest.mark.parametrize("action", sorted(ACTIONS))
async def test_nul_in_every_text(watched: Watched, action: str) -> None:
    """A NUL in any text of any action, in either protocol, is the client's mistake, or has no effect: it is stored nowhere."""
    members = right(action, "none")
    for path in texts(members):
        wrong = replaced(members, path, "nul\0nul")
        for body, headers in (
            (json.dumps(wrong).encode(), targeted(action)),
            (form(action, wrong).encoded(), FORM),
        ):
            reply = await watched.sqs.post(body, headers)
            assert reply.status in (200, 400, 404), (path, reply.body)
            assert b"nul\\x00" not in repr(watched.values()).encode(), path


@ON_LISTENER
@pytest.mark.parametrize("action", sorted(ACTIONS))
async def test_lone_surrogates_in_every_text(watched: Watched, action: str) -> None:
    """Half of a surrogate pair is no character: such JSON, and such a form, cannot be read."""
    members = right(action, "none")
    for path in texts(members):
        for half in ("\ud800", "\udfff", "a\udc00\ud800b"):
            wrong = replaced(members, path, half)
            status, body = await watched.refused(json.dumps(wrong).encode(), targeted(action))
            assert (status, b"#SerializationException" in body) == (400, True), path
            status, body = await watched.refused(form(action, wrong).encoded(), FORM)
            assert (status, b"<Code>MalformedInput</Code>" in body) == (400, True), path


@pytest.mark.parametrize("action", sorted(ACTIONS))
async def test_header_injection(watched: Watched, action: str) -> None:
    """CR and LF in any text of a request begin no header in the answer."""
    members = right(action, "none")
    for path in texts(members):
        wrong = replaced(members, path, "x\r\nX-Evil: 1\r\n\r\n")
        for body, headers in ((json.dumps(wrong).encode(), targeted(action)), (form(action, wrong).encoded(), FORM)):
            reply = await watched.sqs.post(body, headers)
            assert reply.status in (200, 400, 404), (path, reply.body)
            assert "X-Evil" not in reply.headers
            assert set(reply.headers) <= {
                "Content-Type",
                "Content-Length",
                "Server",
                "Date",
                "x-amzn-RequestId",
                "x-amzn-query-error",
            }


async def raw(sqs: Sqs, *lines: bytes) -> bytes:
    """Write the lines of a head as they are, and return all that comes."""
    host, _, port = sqs.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


DELETE = b"?Action=DeleteQueue"
PATHS = {
    b"/../000000000000/q": {200, 404, 400},
    b"/../../etc/passwd": {404},
    b"//": {404},
    b"//evil.example/000000000000": {404},
    b"/000000000000%2Fq" + DELETE: {400},
    b"/000000000000/%71" + DELETE: {400},
    b"/000000000000/q%00" + DELETE: {400},
    b"/000000000000/q%0d%0aX-Evil:%201" + DELETE: {400},
    b"/000000000000/q;/" + DELETE: {400},
    b"/000000000000/q/x" + DELETE: {400},
    b"/%ff%fe/q%ff" + DELETE: {400},
    b"/\xff\xfe/q" + DELETE: {400},
    b"/000000000000/{q}" + DELETE: {400},
    b"/000000000000/*" + DELETE: {400},
    b"/000000000000/" + b"q" * 60_000 + DELETE: {400},
    b"/" + b"x/" * 30_000 + DELETE: {400},
    b"/" + b"q" * 100_000: {400, 414, 431},
    b"?" + DELETE: {400},
    b"q" + DELETE: {400},
    b"*": {400, 404},
    b"ftp://x/000000000000/" + DELETE: {400},
    b"/health/../000000000000/q" + DELETE: {404},
    b"/_questd/../000000000000/" + DELETE: {400, 404},
}


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
async def test_path_tricks(watched: Watched, path: bytes) -> None:
    """A path is taken as it is: nothing in it is decoded, normalized or looked for in a file system."""
    before = watched.digest()
    answer = await raw(watched.sqs, b"GET %s HTTP/1.1" % path, b"Host: x")
    assert int(answer.split(b" ")[1]) in PATHS[path], answer
    assert b"root:" not in answer
    assert b"\r\nX-Evil" not in answer
    assert watched.digest() == before


async def test_an_absolute_target(watched: Watched) -> None:
    """A target that names a host is taken (RFC 9112, 3.2.2), for the queue in its path; URLs in answers do not follow it."""
    target = b"http://evil.example/000000000000/q?Action=GetQueueUrl&QueueName=q"
    answer = await raw(watched.sqs, b"GET %s HTTP/1.1" % target, b"Host: right.example")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"<QueueUrl>http://right.example/000000000000/q</QueueUrl>" in answer
    assert b"evil" not in answer


@pytest.mark.parametrize("host", [b"a b", b'x"><script>', b"x/../..", b"x@y", b"\xff", b"", b"x\ty", b"x?y#z"])
async def test_a_host_that_is_none(watched: Watched, host: bytes) -> None:
    """What a client says of this server's name is repeated only if it can be one."""
    answer = await raw(watched.sqs, b"GET /?Action=GetQueueUrl&QueueName=q HTTP/1.1", b"Host: " + host)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    if answer.startswith(b"HTTP/1.1 200"):
        found = re.search(b"<QueueUrl>(.*)</QueueUrl>", answer)
        assert found
        assert found[1] == b"http://127.0.0.1:9324/000000000000/q"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((b"Sec-Fetch-Site: cross-site",), b"403"),
        ((b"Sec-Fetch-Site: same-site", b"Origin: http://127.0.0.1:8000"), b"403"),
        ((b"Origin: http://evil.example",), b"403"),
        ((b"Origin: null",), b"403"),
        ((b"Sec-Fetch-Site: none",), b"200"),
        ((b"Origin: http://localhost:9324",), b"200"),
        ((b"Sec-Fetch-Site: same-origin", b"Origin: https://proxy.example"), b"200"),
    ],
    ids=range(7),
)
async def test_a_web_page_of_another_site(watched: Watched, headers: tuple[bytes, ...], status: bytes) -> None:
    """A page in somebody's browser, which reaches this machine where its author does not, can do nothing to a queue."""
    before = watched.digest()
    for line in (b"GET /000000000000/q?Action=PurgeQueue HTTP/1.1", b"POST /000000000000/q?Action=PurgeQueue HTTP/1.1"):
        answer = await raw(watched.sqs, line, b"Host: localhost:9324", b"Content-Length: 0", *headers)
        assert answer.split(b" ")[1] == status
        assert (watched.digest() == before) == (status == b"403")


INJECTIONS = (
    *("'", '"', "]]", "q' .. redis.call('FLUSHALL') .. '", "%s%d%n", "{}", "{x}", "q}:visible", "}{", "quest:{q}"),
    *("q:visible", "q\n", "\nq", "q\r\n", "q\0", "q *", "a b", "$(id)", "`id`", "q;", "../q", "~us-east-1/1/q", "é", ".", ""),
    *("q.fifo.fifo", ".fifo", "*", "q*", "?", "[a-z]", "\\q", "q" * 81),
)  # fmt: skip


@ON_LISTENER
@pytest.mark.parametrize("name", INJECTIONS)
async def test_lua_injection_through_names(watched: Watched, name: str) -> None:
    """A name that could leave its key, its hash tag, a command or a program is no queue's, and no list's."""
    sqs = watched.sqs
    for action, members in (
        ("CreateQueue", {"QueueName": name}),
        ("GetQueueUrl", {"QueueName": name}),
        ("DeleteQueue", {"QueueUrl": f"http://x/000000000000/{name}"}),
        ("SendMessage", {"QueueUrl": name, "MessageBody": "x"}),
        ("StartMessageMoveTask", {"SourceArn": f"arn:aws:sqs:us-east-1:000000000000:{name}"}),
        ("SetQueueAttributes", {"QueueUrl": "q", "Attributes": {"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{name}", "maxReceiveCount": 1})}}),
    ):  # fmt: skip
        if "QueueUrl" not in members or "/" not in name:  # the last part of a URL counts
            await watched.refused(json.dumps(members).encode(), targeted(action))
    before = watched.digest()
    with pytest.raises(redis.ResponseError, match=r"a list name is|usage"):
        watched.redis.fcall("sendMessage", 1, name if name not in ("", "q" * 81) else "q q", "value")
    assert watched.digest() == before
    assert (await sqs.ask("ListQueues")).json["QueueUrls"] == [
        f"{sqs.url}/000000000000/{name}" for name in ("dead", "q")
    ]


@ON_LISTENER
@pytest.mark.parametrize("prefix", ["*", "q*", "?", "[a-z]", "\\", "(", "[q", "\xff", "q\xff", "-", "+"])
async def test_globs_in_a_prefix(watched: Watched, prefix: str) -> None:
    """A prefix is letters, not a pattern, nor a bound of Redis."""
    assert (await watched.sqs.ask("ListQueues", QueueNamePrefix=prefix)).json == {}


PASSWORD, SECRET = "pa55word-of-redis", "s3cret-of-a-key"


def processes() -> bytes:
    """Return the command lines of all processes, where there is a /proc."""
    lines = b""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines += file.read_bytes()
    return lines


async def provoked(url: str, server: RedisServer) -> bytes:
    """Return all that a questd answers to wrong signatures, to nonsense, and when its Redis is gone."""
    signed = f"AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature={'0' * 64}"
    heads = [
        {},
        {"Authorization": signed, "X-Amz-Date": "20260101T000000Z"},
        {"Authorization": signed, "X-Amz-Date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")},
        {"Authorization": "AWS4-HMAC-SHA256 x"},
    ]
    shown = processes()
    async with aiohttp.ClientSession() as session:

        async def ask(headers: dict[str, str], body: bytes = b"{}") -> bytes:
            target = {"X-Amz-Target": "AmazonSQS.ListQueues"}
            async with session.post(url, data=body, headers=target | headers) as response:
                return repr(response.headers).encode() + await response.read()

        for headers in heads:
            shown += await ask(headers) + await ask(headers, b"[")
        server.stop()
        async with session.get(f"{url}/health/ready") as response:
            shown += await response.read()
    return shown


async def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    """The password of Redis and the secrets of keys are in no answer, no log and no list of processes, whatever fails."""
    with running() as server:
        with server.client() as client:
            client.config_set("requirepass", PASSWORD)
        environment = os.environ | {
            "QUESTD_REDIS_URL": server.url.replace("://", f"://:{PASSWORD}@"),
            "QUESTD_KEYS": f"AKID:{SECRET}",
            "QUESTD_PORT": "0",
        }
        log = tmp_path / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: ASYNC220  # it takes a millisecond
                [sys.executable, "-m", "questd", "serve"], env=environment, stdout=out, stderr=out
            )
        try:
            while not (line := re.search(r"http://\S+:\d+", log.read_text())):
                assert process.poll() is None
                await asyncio.sleep(0.02)
            shown = await provoked(line[0], server)
        finally:
            process.terminate()
            process.wait()
    shown += log.read_bytes()
    assert b"questd" in shown
    assert shown.count(b"AccessDenied") + shown.count(b"Signature") > 1
    assert PASSWORD.encode() not in shown
    assert SECRET.encode() not in shown
