"""Somebody at the console without a browser: pages are got, forms are posted with the token that the page has."""

import contextlib
import html
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
from multidict import CIMultiDictProxy

from tests.client import Sqs, serving

TOKEN = re.compile(r'name="token" value="([0-9a-f]+)"')


class Shown(NamedTuple):
    """A page as it came."""

    status: int
    text: str
    headers: CIMultiDictProxy[str]
    path: str
    """Where it is, after redirects."""

    @property
    def words(self) -> str:
        """Return what a reader sees of it."""
        return " ".join(html.unescape(re.sub("<[^>]*>", " ", self.text)).split())

    def has(self, words: str) -> bool:
        """Tell whether a reader sees these words."""
        return words in self.words


class Visitor:
    """Somebody, with cookies of his own."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, path: str, **headers: str) -> Shown:
        """Look at a page."""
        async with self.session.get(self.url + path, headers=headers) as reply:
            return Shown(reply.status, await reply.text(), reply.headers, reply.url.path)

    async def post(self, path: str, *, on: str = "/", headers: dict[str, str] | None = None, **fields: Any) -> Shown:
        """Post a form with the token that a page has."""
        found = TOKEN.search((await self.get(on)).text)
        data = {"token": found[1] if found else ""} | fields
        async with self.session.post(self.url + path, data=data, headers=headers) as reply:
            return Shown(reply.status, await reply.text(), reply.headers, reply.url.path)

    async def login(self, name: str, secret: str) -> Shown:
        """Log in."""
        return await self.post("/login", on="/login", name=name, secret=secret)


@contextlib.asynccontextmanager
async def visiting(redis_url: str, **settings: Any) -> AsyncIterator[tuple[Visitor, Sqs]]:
    """Run a console on that Redis, and the port that programs use; give a visitor and a client."""
    unsafe = aiohttp.CookieJar(unsafe=True)  # cookies of an IP address, too
    async with (
        serving(redis_url) as sqs,
        serving(redis_url, front="console", **settings) as console,
        aiohttp.ClientSession(cookie_jar=unsafe) as session,
    ):
        yield Visitor(console.url, session), sqs
