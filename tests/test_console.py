"""The console's port: what it answers, over HTTP, on a questd in this process."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from questd import views
from tests.client import Sqs, serving
from tests.servers import DEFAULT, RedisServer, running
from tests.visitor import TOKEN, visiting


@pytest.fixture
async def console(redis_server: RedisServer) -> AsyncIterator[Sqs]:
    """Give a client of a console on an empty Redis."""
    async with serving(redis_server.url, front="console") as client:
        yield client


async def _get(console: Sqs, path: str) -> tuple[int, str]:
    async with console.session.get(console.url + path) as answer:
        return answer.status, await answer.text()


async def test_health(console: Sqs) -> None:
    """The console answers for health as the SQS port does."""
    assert await _get(console, "/health/live") == (200, "live\n")
    assert await _get(console, "/health/ready") == (200, "ready\n")
    assert (await _get(console, "/health/other"))[0] == 404


async def test_not_ready() -> None:
    """Without Redis it is live and not ready."""
    with running(DEFAULT) as server:
        async with serving(server.url, front="console") as console:
            server.stop()
            assert (await _get(console, "/health/live"))[0] == 200
            status, text = await _get(console, "/health/ready")
            assert status == 503
            assert text.startswith("not ready: ")


async def test_the_console_is_no_sqs_port(console: Sqs) -> None:
    """Actions are not answered here: whoever opens this port to others opens no queue."""
    async with console.session.post(console.url, data=b"{}", headers={"X-Amz-Target": "AmazonSQS.ListQueues"}) as reply:
        assert reply.status == 403
    async with console.session.get(console.url, params={"Action": "ListQueues"}) as reply:
        assert reply.headers["Content-Type"].startswith("text/html")


async def test_draining(redis_server: RedisServer) -> None:
    """A console that ends closes its connections."""
    async with serving(redis_server.url, front="console") as console:
        assert (await _get(console, "/"))[0] == 200
        await console.stop()
        with pytest.raises(aiohttp.ClientError):
            await _get(console, "/")


KEYS = """
[ALL]
secret = "the secret of ALL"

[SOME]
secret = "the secret of SOME"
allow = ["orders-*:*"]

[LOOK]
secret = "the secret of LOOK"
allow = ["mail:GetQueueAttributes,ReceiveMessage"]

[ELSE]
secret = "the secret of ELSE"
account = "111122223333"
"""


async def test_metrics_need_a_key(redis_server: RedisServer, tmp_path: Path) -> None:
    """With access keys, metrics are for who has one of the server's own with all rights; health is for everybody."""
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    keys.chmod(0o600)

    async def status(console: Sqs, *who: str) -> int:
        headers = {"Authorization": aiohttp.encode_basic_auth(*who)} if who else {}
        async with console.session.get(f"{console.url}/metrics", headers=headers) as answer:
            assert answer.status == 200 or "Basic" in answer.headers["WWW-Authenticate"]
            return answer.status

    async with serving(redis_server.url, front="console", keys_file=keys) as console:
        assert await status(console, "ALL", "the secret of ALL") == 200
        assert await status(console) == 401
        assert await status(console, "ALL", "the secret of SOME") == 401
        assert await status(console, "SOME", "the secret of SOME") == 401
        assert await status(console, "ELSE", "the secret of ELSE") == 401
        assert await status(console, "NOBODY", "") == 401
        assert (await _get(console, "/health/ready"))[0] == 200
        right = aiohttp.encode_basic_auth("ALL", "the secret of ALL").removeprefix("Basic ")
        for wrong in (f"Bearer {right}", right, "Basic !", "Basic YQ==", "Basic /////w=="):
            async with console.session.get(f"{console.url}/metrics", headers={"Authorization": wrong}) as answer:
                assert answer.status == 401


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Return a file of access keys."""
    file = tmp_path / "keys.toml"
    file.write_text(KEYS)
    file.chmod(0o600)
    return file


async def test_every_answer_is_guarded(console: Sqs) -> None:
    """Pages, problems and files say what a browser may do with them: nothing but what the console itself serves."""
    paths = ("/", "/nowhere", "/queues/none", "/static/console.js", "/health/live", "/metrics", "/static/none")
    for path in paths:
        async with console.session.get(console.url + path) as answer:
            policy = answer.headers["Content-Security-Policy"].split("; ")
            assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(
                policy
            )
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")


async def test_pages_have_nothing_inline(redis_server: RedisServer) -> None:
    """No page has a script, a style or an event of its own, which the policy would forbid."""
    async with visiting(redis_server.url) as (visitor, sqs):
        await sqs.create()
        for path in ("/", "/queues/q", "/queues/q/send", "/queues/q/settings", "/queues/q/confirm/purge"):
            page = await visitor.get(path)
            assert page.status == 200
            assert not re.search(
                r"<style|\sstyle=|\son\w+=|<script(?! src=)|javascript:|//(?!127\.0\.0\.1)[a-z]+\.", page.text
            )


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}])
async def test_forms_of_others(redis_server: RedisServer, headers: dict[str, str]) -> None:
    """A form of another site, or without this console's token, does nothing."""
    async with visiting(redis_server.url) as (visitor, sqs):
        await sqs.create()
        for token in ("", "0" * 64):
            page = await visitor.post("/queues/q/delete", token=token)
            assert (page.status, page.has("The form is not of this console")) == (403, True)
        assert (await visitor.post("/queues/q/delete", headers=headers)).status == 403
        assert len((await sqs("ListQueues"))["QueueUrls"]) == 1
        assert (await visitor.post("/queues/q/delete", headers={"Origin": visitor.url})).status == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("application/x-www-form-urlencoded; charset=nonsense", b"token=1"),
        ("application/x-www-form-urlencoded", b"token=%ff&\xff"),
        ("multipart/form-data", b"--"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="token"; filename="a"\r\n\r\n1\r\n--x--',
        ),
    ],
)
async def test_what_is_no_form(console: Sqs, kind: str, body: bytes) -> None:
    """Whatever else is posted is refused, and no mistake of questd."""
    async with console.session.post(f"{console.url}/queues", data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == 403


async def test_a_proxy(redis_server: RedisServer) -> None:
    """Behind a proxy that asks by another host, forms of the public URL are its own."""
    async with visiting(redis_server.url, public_url="https://sqs.example.com") as (visitor, _):
        headers = {"Origin": "https://sqs.example.com"}
        assert (await visitor.post("/queues", QueueName="q", headers=headers)).path == "/queues/q"
        headers = {"Origin": "https://sqs.example.com.evil"}
        assert (await visitor.post("/queues", QueueName="r", headers=headers)).status == 403


async def test_hosts(redis_server: RedisServer) -> None:
    """Without keys, a name that somebody else can lead here is refused: DNS rebinding."""
    async with visiting(redis_server.url, public_url="https://sqs.example.com") as (visitor, _):
        for host in ("127.0.0.1:9325", "localhost:9325", "LOCALHOST", "[::1]:9325", "sqs.example.com"):
            assert (await visitor.get("/", Host=host)).status == 200, host
        for host in ("evil.example", "127.0.0.1.evil.example:9325", "localhost.evil.example", "sqs.example.com.evil"):
            page = await visitor.get("/", Host=host)
            assert (page.status, page.has("IP addresses")) == (421, True), host
        assert (await visitor.get("/metrics", Host="questd:9325")).status == 200


async def test_login(redis_server: RedisServer, keys: Path) -> None:
    """With access keys nobody sees or does anything before he has logged in; then he comes to where he wanted."""
    async with visiting(redis_server.url, keys_file=keys) as (visitor, sqs):
        await sqs.create()
        for path in ("/", "/queues/q", "/queues/q/messages/1", "/queues/q/confirm/purge"):
            assert (await visitor.get(path)).path == "/login"
        page = await visitor.post("/queues/q/delete", on="/login")
        assert page.path == "/login"
        page = await visitor.login("ALL", "wrong")
        assert (page.status, page.has("There is no such access key")) == (403, True)
        assert "wrong" not in page.text
        page = await visitor.post(
            "/login", on="/login", name="ALL", secret="the secret of ALL", next="/queues/q?state=visible"
        )
        assert (page.status, page.path) == (200, "/queues/q")
        assert page.has("ALL")
        assert "the secret of" not in page.text
        assert (await visitor.post("/logout")).path == "/login"
        assert (await visitor.get("/")).path == "/login"


async def test_the_cookie(redis_server: RedisServer, keys: Path) -> None:
    """The cookie is for this site's own requests only, not for scripts, and not without TLS where there is TLS."""
    for public_url, secure in (("http://127.0.0.1", False), ("https://sqs.example.com", True)):
        async with visiting(redis_server.url, keys_file=keys, public_url=public_url) as (visitor, _):
            found = TOKEN.search((await visitor.get("/login")).text)
            assert found
            data = {"token": found[1], "name": "ALL", "secret": "the secret of ALL"}
            async with visitor.session.post(f"{visitor.url}/login", data=data, allow_redirects=False) as answer:
                assert answer.status == 303
                cookie = answer.headers["Set-Cookie"]
            assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
            assert ("Secure" in cookie.split("; ")) == secure


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
async def test_login_leads_nowhere_else(redis_server: RedisServer, keys: Path, to: str) -> None:
    """A link to the login cannot lead to another site."""
    async with visiting(redis_server.url, keys_file=keys) as (visitor, _):
        page = await visitor.post("/login", on="/login", name="ALL", secret="the secret of ALL", next=to)
        assert (page.status, page.path) == (200, "/")


async def test_too_many_logins(redis_server: RedisServer, keys: Path) -> None:
    """Whoever tries secrets is not heard for a while."""
    async with visiting(redis_server.url, keys_file=keys) as (visitor, _):
        statuses = [(await visitor.login("ALL", f"guess {number}")).status for number in range(11)]
        assert statuses == [403] * 10 + [429]
        assert (await visitor.login("ALL", "the secret of ALL")).status == 429


async def test_rights(redis_server: RedisServer, keys: Path) -> None:
    """Somebody sees and does what his key may, and nothing else."""
    async with visiting(redis_server.url, keys_file=keys) as (visitor, sqs):
        await sqs.create("orders-eu")
        await sqs.create("mail")
        await visitor.login("SOME", "the secret of SOME")
        page = await visitor.get("/")
        assert page.has("orders-eu")
        assert not page.has("mail")
        assert (await visitor.post("/queues/orders-eu/send", MessageBody="x")).has("Sent.")
        for path in ("/queues/mail", "/queues/mail/settings", "/queues/mail/messages/1", "/queues/mail/confirm/purge"):
            page = await visitor.get(path)
            assert (page.status, page.has("AccessDeniedException")) == (403, True)
        assert (await visitor.post("/queues", QueueName="mail-2")).status == 403
        await visitor.post("/logout")
        await visitor.login("ELSE", "the secret of ELSE")
        assert not (await visitor.get("/")).has("orders-eu")


async def test_who_may_only_look(redis_server: RedisServer, keys: Path) -> None:
    """Somebody who may look at a queue and its messages can do nothing with it."""
    async with visiting(redis_server.url, keys_file=keys) as (visitor, sqs):
        await sqs.fill(await sqs.create("mail"), ["look at me"])
        [message] = await sqs.receive("mail", VisibilityTimeout=0)
        await visitor.login("LOOK", "the secret of LOOK")
        assert (await visitor.get("/queues/mail")).has("look at me")
        given = {
            "message_id": message["MessageId"],
            "sequence": "1",
            "MessageBody": "x",
            "key": "a",
            "DelaySeconds": "1",
        }
        for act in ("send", "drop", "purge", "redrive", "pause", "resume", "delete", "attributes", "tag", "untag"):
            page = await visitor.post(f"/queues/mail/{act}", on="/queues/mail", **given)
            assert (page.status, page.has("AccessDeniedException")) == (403, True), act
        assert (await visitor.get("/queues/mail")).has("look at me")


async def test_no_login_without_keys(redis_server: RedisServer) -> None:
    """Without access keys there is nothing to log in with."""
    async with visiting(redis_server.url) as (visitor, _):
        assert (await visitor.get("/login")).path == "/"


async def test_redis_is_away() -> None:
    """Without Redis every page says so."""
    with running(DEFAULT) as server:
        async with visiting(server.url) as (visitor, _):
            server.stop()
            page = await visitor.get("/")
            assert (page.status, page.has("ServiceUnavailable")) == (503, True)


async def test_a_mistake_of_questd(
    console: Sqs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails unforeseen is logged, and shown without its details."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("details")

    monkeypatch.setattr(views, "overview", fail)
    status, text = await _get(console, "/")
    assert (status, "details" in text) == (500, False)
    assert "ZeroDivisionError: details" in caplog.text
