"""Whatever comes in, in either protocol: an answer that AWS could give, and an error changes nothing."""

import asyncio
import io
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questd import library, server
from questd.action import Questd
from questd.actions import ACTIONS
from questd.answer import Answer
from questd.errand import answered
from questd.heads import KEEP, head_of
from questd.request import Request
from questd.settings import Settings
from tests.client import Sqs
from tests.fuzz import examples
from tests.requests import TEXTS, form, mutated, mutated_form, right
from tests.servers import RedisServer
from tests.test_errors import named

CODES = {error.code: error.status for error in named()}
TYPES = {error.type for error in named()}
SECONDS = 1.0
"""How much of a process's time a request of a few megabytes may take, at most and on a busy machine."""

PATIENCE = 10
"""Seconds that a request may wait for a busy machine."""

DIGEST = """
local digest, keys = '', redis.call('KEYS', '*')
table.sort(keys)
for _, key in ipairs(keys) do
  local held = redis.call('DUMP', key)
  if redis.call('TYPE', key).ok == 'hash' then
    local field, fields = redis.call('HGETALL', key), {}
    for i = 1, #field, 2 do fields[#fields + 1] = #field[i] .. ' ' .. field[i] .. field[i + 1] end
    table.sort(fields)
    held = table.concat(fields, ' ')
  end
  if key ~= 'quest:lease' then digest = redis.sha1hex(digest .. key .. held) end
end
return digest
"""
"""All that a Redis holds but for the lease, which is renewed. A hash is not what DUMP says of it: the order of its fields
changes while Redis makes its table larger or smaller, which a read goes on with too."""


class Place:
    """A questd with queues in which there is something, which can be put back as it was."""

    def __init__(self, redis_server: RedisServer, questd: Questd) -> None:
        self.questd = questd
        self.redis = redis_server.client()
        self._digest = self.redis.register_script(DIGEST)
        self.handle = ""

    async def make(self) -> None:
        """Make the queues, and keep what Redis holds then."""
        await self.ask("CreateQueue", QueueName="dead")
        redrive = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3})
        attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": "43000"}
        await self.ask("CreateQueue", QueueName="q", Attributes=attributes, tags={"a": "b"})
        await self.ask("CreateQueue", QueueName="q.fifo", Attributes={"FifoQueue": "true"})
        await self.ask("AddPermission", QueueUrl="q", Label="l", AWSAccountIds=["111122223333"], Actions=["*"])
        for body in "abc":
            await self.ask("SendMessage", QueueUrl="q", MessageBody=body)
        self.handle = (await self.ask("ReceiveMessage", QueueUrl="q"))["Messages"][0]["ReceiptHandle"]
        for name in ("dead", "q", "q.fifo"):  # whenever the background task ticks, it is to find nothing to do
            await self.questd.library.call("quest_tick", library.key_of(name), "never")
        self._kept = [(key, self.redis.dump(key)) for key in self.redis.keys("*") if key != b"quest:lease"]

    async def ask(self, action: str, **members: Any) -> dict[str, Any]:
        """Ask for an action that must succeed."""
        headers = {"x-amz-target": f"AmazonSQS.{action}"}
        given = await answered(self.questd, Request("POST", "/", headers, json.dumps(members).encode()))
        assert given.status == 200, given
        found: dict[str, Any] = json.loads(given.body or b"{}")
        return found

    def restore(self) -> None:
        """Put back what Redis held."""
        with self.redis.pipeline() as pipeline:
            pipeline.flushall()
            for key, dump in self._kept:
                pipeline.restore(key, 0, dump)
            pipeline.execute()

    def digest(self) -> bytes:
        """Return a digest of what Redis holds."""
        found: bytes = self._digest()
        return found

    async def check(self, request: Request) -> Answer | None:
        """Answer a request; the answer must be AWS's, quick, and an error must have changed nothing."""
        before, begun = self.digest(), time.process_time()
        try:
            given = await asyncio.wait_for(answered(self.questd, request), PATIENCE)
        except TimeoutError:  # a long poll that is right
            assert b"WaitTimeSeconds" in request.body + request.target.encode(errors="replace"), request
            self.restore()
            return None
        assert time.process_time() - begun < SECONDS, request
        check_answer(given.status, given.content_type, given.headers, given.body)
        assert head_of(given, KEEP).count(b"\r\n") == 6 + len(given.headers), given
        if self.digest() != before:
            assert given.status == 200, (request, given)
            self.restore()
        return given


def check_answer(status: int, content_type: str, headers: Any, body: bytes) -> None:
    """See that an answer is one that AWS could give, no failure of the server, and whole."""
    assert status in (200, 400, 403, 404, 405, 413), (status, body)
    assert all(re.fullmatch("[ -~]*", f"{name}{value}") for name, value in headers.items()), headers
    if content_type == "application/x-amz-json-1.0":
        _check_json(status, headers, body)
    elif body != b"<UnknownOperationException/>" and content_type == "text/xml":
        _check_xml(status, body)
    elif content_type == "application/json":
        found = json.loads(body)
        assert status == 200 or CODES[found["Error"]["Code"]] == status


def _check_json(status: int, headers: Any, body: bytes) -> None:
    members = json.loads(body) if body else {}
    assert isinstance(members, dict)
    if status != 200:
        assert members["__type"] in TYPES
        assert members.get("message", members.get("Message")), members
        code, _, fault = headers["x-amzn-query-error"].partition(";")
        assert (CODES[code], fault) == (status, "Sender")


def _check_xml(status: int, body: bytes) -> None:
    root = ET.fromstring(body.decode())
    if status != 200:
        code = root.find("{*}Error/{*}Code")
        assert code is not None
        assert CODES[code.text or ""] == status


@pytest.fixture(params=["", "AKIDEXAMPLE:wJalrXUtnFEMI"], ids=["open", "keys"])
async def place(
    redis_server: RedisServer, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Place]:
    """Give a questd without and one with access keys."""
    await library.load(redis_server.url, test_mode=True)
    chosen = Settings.model_validate({"redis_url": redis_server.url, "test_mode": True})
    async with server.running(chosen) as questd:
        found = Place(redis_server, questd)
        await found.make()
        if request.param:
            keyed = Settings.model_validate({"redis_url": redis_server.url, "keys": request.param})
            questd.gate = server._gate(keyed)
        yield found
        found.redis.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


chances = st.randoms(use_true_random=False)


OPEN = pytest.mark.parametrize("place", [""], indirect=True, ids=["open"])


@OPEN
@pytest.mark.parametrize("action", sorted(ACTIONS))
async def test_right_requests(place: Place, action: str) -> None:
    """What is mutated below is right before, in both protocols: it comes to its action."""
    target = {"x-amz-target": f"AmazonSQS.{action}"}
    members = right(action, place.handle)
    for request in (
        Request("POST", "/", target, json.dumps(members).encode()),
        Request("POST", "/", {}, form(action, members).encoded()),
    ):
        given = await place.check(request)
        assert given
        assert request.action == action, given.body


@OPEN
@examples(200)
@given(chance=chances, action=st.sampled_from(sorted(ACTIONS)))
async def test_json(place: Place, chance: Random, action: str) -> None:
    """A request in JSON with something wrong in it gets AWS's error, and nothing has changed."""
    body = mutated(right(action, place.handle), chance)
    await place.check(Request("POST", "/", {"x-amz-target": f"AmazonSQS.{action}"}, body))


@OPEN
@examples(200)
@given(chance=chances, action=st.sampled_from(sorted(ACTIONS)))
async def test_query(place: Place, chance: Random, action: str) -> None:
    """A request in the Query protocol with something wrong in it gets AWS's error, and nothing has changed."""
    body = mutated_form(form(action, right(action, place.handle)), chance)
    accept = {"accept": "application/json"} if chance.random() < 0.2 else {}
    if chance.random() < 0.3:
        await place.check(Request("GET", "/?" + body.decode(errors="surrogateescape"), accept, b""))
    else:
        await place.check(Request("POST", "/", accept, body))


TARGETS = (
    *("/", "//", "/000000000000/q", "/000000000000/q/", "/../q", "/a/../q", "/%00/q", "/000000000000%2Fq", "*", ""),
    *("http://evil/000000000000/q", "/\udcff\udcfe/q", "/?\udcff=\ud800", "/?Action=%FF", "/?Action=ListQueues&Action=X"),
    *("/x" * 5000, "/health/\udcff", "/_questd/clock/", "/?" + "&" * 20_000, "/?" + "X-Amz-Algorithm=AWS4-HMAC-SHA256&" * 9),
)  # fmt: skip
NAMES = (
    *("host", "x-amz-target", "content-type", "authorization", "x-amz-date", "x-amzn-trace-id", "accept", "content-encoding"),
    *("x-amz-content-sha256", "x-amz-security-token", "x-amzn-query-mode"),
)  # fmt: skip
SIGNED = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{date}/us-east-1/sqs/aws4_request, SignedHeaders={headers}, Signature={value}"
TIMES = ("20260101T000000Z", "99991231T235959Z", "00010101T000000Z", "20260230T000000Z", "é", "", "\udcff", "9" * 5000)


def as_header(text: str) -> str:
    """Return a text as either front hands in the value of a header."""
    return text.encode(errors="surrogatepass").decode(errors="surrogateescape")


def odd_headers(chance: Random) -> dict[str, str]:
    """Return headers of which some make no sense."""
    headers = {name: as_header(chance.choice(TEXTS)[:9000]) for name in chance.sample(NAMES, chance.randrange(4))}
    if chance.random() < 0.6:
        time = chance.choice(TIMES)
        value = chance.choice(("", "0" * 64, "é" * 64, "\udcff", "x" * 5000))
        signed = chance.choice(("host", "host;x-amz-date", "", "host;\udcff", ";" * 2000, "host;" + "x;" * 2000))
        headers |= {
            "x-amz-date": time,
            "authorization": SIGNED.format(date=chance.choice((time[:8], "x", "")), headers=signed, value=value),
        }
    return headers


@examples(120)
@given(
    chance=chances,
    action=st.sampled_from(sorted(ACTIONS)),
    is_json=st.booleans(),
    method=st.sampled_from(["GET", "POST"]),
)
async def test_heads(place: Place, chance: Random, action: str, *, is_json: bool, method: str) -> None:
    """A request with a head that makes no sense, its signature included, gets AWS's error, and nothing has changed."""
    members = right(action, place.handle)
    headers = {"x-amz-target": f"AmazonSQS.{action}"} if is_json else {}
    body = json.dumps(members).encode() if is_json else form(action, members).encoded()
    await place.check(Request(method, chance.choice(TARGETS), headers | odd_headers(chance), body))


@OPEN
@examples(60)
@given(
    body=st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
        ).map(lambda value: json.dumps(value).encode()),
    ),
    action=st.sampled_from(sorted(ACTIONS)),
)
async def test_anything(place: Place, body: bytes, action: str) -> None:
    """Any bytes, and any JSON, are a request or get AWS's error, in both protocols."""
    await place.check(Request("POST", "/", {"x-amz-target": f"AmazonSQS.{action}"}, body))
    await place.check(Request("POST", "/", {}, b"Action=" + action.encode() + b"&" + body))


@examples(80)
@given(chance=chances, action=st.sampled_from(sorted(ACTIONS)), is_json=st.booleans())
async def test_over_http(
    sqs: Sqs, caplog: pytest.LogCaptureFixture, chance: Random, action: str, *, is_json: bool
) -> None:
    """The same over HTTP, on both fronts: the same answers, and the connection goes on."""
    members = right(action, "none")
    if is_json:
        headers, body = {"X-Amz-Target": f"AmazonSQS.{action}"}, mutated(members, chance)
    else:
        headers, body = (
            {"Content-Type": "application/x-www-form-urlencoded"},
            mutated_form(form(action, members), chance),
        )
    async with sqs.session.post(sqs.url, data=io.BytesIO(body), headers=headers) as response:
        shown = {name: value for name, value in response.headers.items() if name != "Date"}
        check_answer(response.status, response.content_type, shown, await response.read())
    assert (await sqs.ask("ListQueues")).status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
