"""The console's port: what it answers, over HTTP, on a questd in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.client import Sqs, serving
from tests.servers import DEFAULT, RedisServer, running


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


async def test_the_front_page_names_what_there_is(console: Sqs) -> None:
    """Every link of the page leads somewhere."""
    status, page = await _get(console, "/")
    assert status == 200
    links = [part.partition('"')[0] for part in page.split('href="')[1:]]
    assert links
    for link in links:
        assert (await _get(console, link))[0] == 200


async def test_the_console_is_no_sqs_port(console: Sqs) -> None:
    """Actions are not answered here: whoever opens this port to others opens no queue."""
    async with console.session.post(console.url, data=b"{}", headers={"X-Amz-Target": "AmazonSQS.ListQueues"}) as reply:
        assert reply.status == 405
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
