"""The console in a real browser: nothing that its policy forbids, no scrolling sideways, and a story by keyboard alone."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.async_api import Page, async_playwright, expect

from questd import console
from questd.action import Questd
from questd.pages import HISTORY
from tests import scene
from tests.client import Sqs
from tests.servers import RedisServer
from tests.visitor import visiting

expect.set_options(timeout=20_000)  # a live page comes every two seconds, and the machine may have much to do

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")

LONG = "a" * 80

PAGES = {
    "overview": "/",
    "queue": "/queues/orders",
    "dead letters": "/queues/orders-dead",
    "FIFO": "/queues/stock-events.fifo",
    "send": "/queues/orders/send",
    "settings": "/queues/stock-events.fifo/settings",
    "confirm": "/queues/orders-dead/confirm/redrive",
    "confirm a long name": f"/queues/{LONG}/confirm/delete",
    "nothing": "/queues/none",
}

BROKEN = """() => {
  const texts = (e) => [...e.childNodes].flatMap((n) => n.nodeType === 3 && n.data.trim() ? [n] : n.nodeType === 1 ? texts(n) : []);
  const lines = (n) => { const r = document.createRange(); r.selectNodeContents(n);
    return new Set([...r.getClientRects()].map((c) => Math.round(c.top))).size; };
  return [...document.querySelectorAll("button, .brand, .queues td.num, .messages .attributes td:nth-child(2)")]
    .filter((e) => e.checkVisibility()).flatMap(texts).filter((n) => lines(n) > 1).map((n) => n.data.trim());
}"""
"""Words and numbers that go over several lines and never should."""

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = (c) => { const [r, g, b] = c.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const back = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3]) return c; }
    return [255, 255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push(`${e.outerHTML.slice(0, 80)}: ${ratio.toFixed(2)}`);
  }
  return bad;
}"""


class Seat(NamedTuple):
    """Somebody before a browser, with a client beside him."""

    page: Page
    sqs: Sqs
    url: str
    questd: list[Questd]
    history: list[Any]


@asynccontextmanager
async def seated(redis_url: str, monkeypatch: pytest.MonkeyPatch, **context: Any) -> AsyncIterator[Seat]:
    """Open the console in Chromium; whatever the browser complains of fails the test."""
    apps: list[Any] = []

    make = console.application

    def application(questd: Questd) -> Any:
        apps.append(make(questd))
        return apps[-1]

    monkeypatch.setattr(console, "application", application)
    complaints: list[str] = []
    async with visiting(redis_url) as (visitor, sqs), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await (await browser.new_context(**context)).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield Seat(page, sqs, visitor.url, [apps[0][console.QUESTD]], [apps[0][HISTORY]])
        finally:
            await browser.close()
    assert [each for each in complaints if "status of 400" not in each] == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 360), ("dark", 1200), ("light", 2200)])
async def test_every_page_looks_right(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, scheme: str, width: int
) -> None:
    """No page scrolls sideways or is hard to read, in light and dark, on a phone and a wide screen, with a long name."""
    context = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with seated(redis_server.url, monkeypatch, **context) as (page, sqs, url, questd, history):
        await page.goto(url)
        await expect(page.get_by_text("No queues yet")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await scene.furnish(sqs)
        await sqs.create(LONG)
        attributes = {"n" * 200: {"DataType": "String", "StringValue": "v" * 3000}}
        await sqs("SendMessage", QueueUrl="orders-dead", MessageBody="w" * 3000, MessageAttributes=attributes)
        await sqs("SendMessage", QueueUrl=LONG, MessageBody="x")
        await sqs("TagQueue", QueueUrl="stock-events.fifo", Tags={"k" * 128: "v" * 256})
        await sqs.advance(1900)  # "31 min" is two words
        await history[0].look(questd[0])
        scene.remember(history[0])
        for name, path in PAGES.items():
            await page.goto(url + path)
            for summary in await page.locator(".messages summary").all():
                await summary.click()
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            assert await page.evaluate(BROKEN) == [], name
            assert await page.evaluate(CONTRAST) == [], name
            background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(17, 21, 28)") == (scheme == "dark"), name


class Keyboard:
    """Hands that have no mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def to(self, name: str) -> None:
        """Press Tab until what has this name has the focus, and shows it."""
        for _ in range(60):
            await self.page.keyboard.press("Tab")
            text, outline = await self.page.evaluate(
                """() => { const e = document.activeElement;
                return [(e.innerText || e.getAttribute("name") || "").trim(), getComputedStyle(e).outlineStyle]; }"""
            )
            if text.startswith(name):
                assert outline != "none", f"nobody sees that {name} has the focus"
                return
        pytest.fail(f"the keyboard does not reach {name}")

    async def type(self, name: str, text: str) -> None:
        """Fill a field."""
        await self.to(name)
        await self.page.keyboard.type(text)

    async def follow(self, name: str) -> None:
        """Follow a link or press a button that leads to another page."""
        await self.to(name)
        await self.enter()

    async def enter(self) -> None:
        """Press Enter, and be on another page."""
        async with self.page.expect_navigation():
            await self.page.keyboard.press("Enter")

    async def make(self, url: str, name: str) -> None:
        """Make a queue."""
        await self.page.goto(url)
        await self.to("New queue")
        await self.page.keyboard.press("Enter")
        await self.type("QueueName", name)
        await self.enter()
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(name)


async def test_a_story_by_keyboard(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mouse: make a queue, send, see it arrive, find why a message is a dead letter, and redrive it."""
    async with seated(redis_server.url, monkeypatch) as (page, sqs, url, _, _):
        keyboard, said, listed = Keyboard(page), page.get_by_role("status"), page.locator(".preview")
        await keyboard.make(url, "dead")
        await keyboard.make(url, "orders")
        await keyboard.follow("Settings")
        await keyboard.type("target", "dead")
        await keyboard.type("maxReceiveCount", "1")
        await keyboard.enter()
        await expect(said).to_have_text("The attributes are changed.")

        await keyboard.follow("Send")
        await keyboard.type("MessageBody", '{"pizza": "margherita"}')
        await keyboard.to("MessageGroupId")
        await keyboard.follow("Send")
        await expect(said).to_have_text("Sent.")
        await keyboard.follow("orders")
        await expect(listed).to_have_text(['{"pizza": "margherita"}'])
        await sqs("SendMessage", QueueUrl="orders", MessageBody="it arrives while we look")
        await expect(listed).to_have_count(2)

        await sqs.receive("orders", VisibilityTimeout=0)
        await sqs.receive("orders", MaxNumberOfMessages=10)  # the other one is in flight now
        await keyboard.follow("dead")
        await expect(listed.first).to_have_text('{"pizza": "margherita"}')
        await keyboard.to("visible")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("it came from orders, was received 1 time").first).to_be_visible()
        await keyboard.follow("questd")
        await keyboard.follow("dead")

        await keyboard.follow("Redrive…")
        await keyboard.to("rate")
        await keyboard.follow("Redrive")
        await expect(page.get_by_text("of 1 moved")).to_be_visible()
        await expect(page.get_by_text("completed")).to_be_visible()
        await expect(page.get_by_text("The queue is empty.")).to_be_visible()
        assert await sqs.counts("dead") == (0, 0, 0)


async def test_live(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The overview lives: the first queue appears by itself, counts follow, the focus and what is open stay."""
    async with seated(redis_server.url, monkeypatch) as (page, sqs, url, _, _):
        await page.goto(url)
        await sqs.create("orders")
        await expect(page.get_by_role("row", name="orders")).to_be_visible()
        await page.get_by_role("link", name="orders").focus()
        await sqs.fill("orders", "abc")
        await expect(page.get_by_role("row", name="orders")).to_contain_text("3")
        assert await page.evaluate("document.activeElement.innerText") == "orders"
        await page.keyboard.press("Enter")
        await page.locator(".messages summary").nth(1).press("Enter")
        await sqs("SendMessage", QueueUrl="orders", MessageBody="d")
        await expect(page.locator(".preview")).to_have_count(4)
        assert await page.evaluate("[...document.querySelectorAll('.messages details')].map((each) => each.open)") == [
            False,
            True,
            False,
            False,
        ]
        assert await page.evaluate("document.activeElement.closest('details').open")


async def test_without_javascript(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything works without JavaScript, too: what asks first is a page."""
    async with seated(redis_server.url, monkeypatch, java_script_enabled=False) as (page, sqs, url, _, _):
        await page.goto(url)
        await page.get_by_text("New queue").click()
        await page.get_by_role("textbox", name="Name").fill("orders")
        await page.get_by_role("button", name="Create queue").click()
        await page.wait_for_url("**/queues/orders?**")
        await sqs.fill("orders", "abc")
        await page.reload()
        await page.get_by_role("link", name="Purge…").click()
        await expect(page.get_by_text("All 3 messages of orders are deleted")).to_be_visible()
        await page.get_by_role("button", name="Purge").click()
        await expect(page.get_by_role("status")).to_have_text("The queue is empty.")
        assert await sqs.counts("orders") == (0, 0, 0)


@pytest.mark.skipif("QUESTD_PICTURES" not in os.environ, reason="make screenshots takes the pictures of the README")
async def test_pictures(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of the README are of this console."""
    folder = Path(os.environ["QUESTD_PICTURES"])
    context = {"viewport": {"width": 1100, "height": 720}, "color_scheme": "light"}
    async with seated(redis_server.url, monkeypatch, **context) as (page, sqs, url, questd, history):
        await scene.furnish(sqs)
        await history[0].look(questd[0])
        scene.remember(history[0])
        await page.goto(url)
        await page.screenshot(path=folder / "console-overview.png")
        await page.emulate_media(color_scheme="dark")
        await page.goto(f"{url}/queues/orders-dead")
        await page.locator(".messages summary").first.click()
        await page.locator("#messages-title").scroll_into_view_if_needed()
        await page.screenshot(path=folder / "console-dead-letters.png")
