"""A questd of a test's own, in this process on a real port, and a client with nothing between the test and the wire."""

import asyncio
import contextlib
import io
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import aiohttp

from questd import library, server
from questd.settings import Settings

JSON = {"Content-Type": "application/x-amz-json-1.0"}


class Reply:
    """An answer of questd: status, headers, and the JSON in the body ({} for none)."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes, members: dict[str, Any]) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body
        self.json = members

    @property
    def error(self) -> tuple[int, str, str, str]:
        """Status, code and name of an error, and its text."""
        kind = self.json["__type"].partition("#")[2]
        return self.status, self.headers["x-amzn-query-error"].partition(";")[0], kind, self.json["message"]


ARN = "arn:aws:sqs:us-east-1:000000000000"
"""How the ARN of every queue begins."""


async def _nothing() -> None:
    pass


class Sqs:
    """A client of one questd, with nothing between the test and the wire; `stop` ends one of this process."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, stop: Callable[[], Awaitable[None]] = _nothing
    ) -> None:
        self.url = url
        self.session = session
        self.stop = stop

    async def post(self, body: bytes, headers: dict[str, str], path: str = "/") -> Reply:
        """Post bytes as they are."""
        async with self.session.post(self.url + path, data=io.BytesIO(body), headers=headers) as response:
            raw = await response.read()
            is_json = raw.startswith(b"{")
            return Reply(response, raw, await response.json(content_type=None) if is_json else {})

    async def ask(self, action: str, **members: Any) -> Reply:
        """Ask for an action, whatever comes of it."""
        headers = {**JSON, "X-Amz-Target": f"AmazonSQS.{action}"}
        return await self.post(json.dumps(members).encode(), headers)

    async def __call__(self, action: str, **members: Any) -> dict[str, Any]:
        """Ask for an action that must succeed, and return the members of its answer."""
        reply = await self.ask(action, **members)
        assert reply.status == 200, reply.body
        return reply.json

    async def create(self, name: str = "q", **attributes: str) -> str:
        """Make a queue and return its URL."""
        url: str = (await self("CreateQueue", QueueName=name, Attributes=attributes))["QueueUrl"]
        return url

    async def attributes(self, url: str, *names: str) -> dict[str, str]:
        """Return some of a queue's attributes; all without names."""
        reply = await self("GetQueueAttributes", QueueUrl=url, AttributeNames=list(names) or ["All"])
        found: dict[str, str] = reply.get("Attributes", {})
        return found

    async def set(self, url: str, **attributes: str) -> None:
        """Set attributes of a queue."""
        await self("SetQueueAttributes", QueueUrl=url, Attributes=attributes)

    async def receive(self, url: str, **members: Any) -> list[dict[str, Any]]:
        """Receive from a queue."""
        messages: list[dict[str, Any]] = (await self("ReceiveMessage", QueueUrl=url, **members)).get("Messages", [])
        return messages

    async def counts(self, url: str) -> tuple[int, int, int]:
        """Return how many messages are visible, in flight and delayed."""
        names = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")]
        attributes = (await self("GetQueueAttributes", QueueUrl=url, AttributeNames=names))["Attributes"]
        visible, in_flight, delayed = (int(attributes[name]) for name in names)
        return visible, in_flight, delayed

    async def fill(self, url: str, bodies: Iterable[str]) -> None:
        """Send bodies in batches of ten."""
        rest = list(bodies)
        for start in range(0, len(rest), 10):
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(rest[start : start + 10])]
            assert "Failed" not in await self("SendMessageBatch", QueueUrl=url, Entries=entries)

    async def advance(self, seconds: float) -> None:
        """Move the clock of every timeout."""
        async with self.session.post(f"{self.url}/_questd/clock", json={"advance": seconds}) as response:
            assert response.status == 200


@contextlib.asynccontextmanager
async def serving(redis_url: str, **settings: Any) -> AsyncIterator[Sqs]:
    """Run a questd on that Redis, in this process, and give a client of it."""
    front = {"front": settings.pop("front", "listener")}  # "console" is nothing that a user may set
    chosen = Settings.model_validate({"redis_url": redis_url, "test_mode": True} | settings).model_copy(update=front)
    await library.load(redis_url, test_mode=chosen.test_mode)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ready, stop = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(server.serve(chosen, listener, ready.set, stop))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

        async def end() -> None:
            stop.set()
            await task

        try:
            async with aiohttp.ClientSession() as session:
                yield Sqs(f"http://127.0.0.1:{port}", session, end)
        finally:
            await end()
