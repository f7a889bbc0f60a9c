"""Pages: what a reader sees of queues and messages."""

import html
import json
import re
from pathlib import Path

import pytest

from questd import views
from tests.client import ARN, Sqs
from tests.servers import RedisServer
from tests.visitor import Visitor, visiting

EVIL = "<script>alert(1)</script>\"'&"


async def test_no_queues_yet(both: tuple[Visitor, Sqs]) -> None:
    """Who has no queue is told how to make one, with the address to use."""
    visitor, _ = both
    page = await visitor.get("/")
    assert page.has("No queues yet")
    assert 'endpoint_url="http://127.0.0.1:9324"' in page.text.replace("&#34;", '"')


async def test_overview(both: tuple[Visitor, Sqs]) -> None:
    """The overview has each queue with its counts and its relations, and the sums."""
    visitor, sqs = both
    await sqs.create("dead")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 3})
    url = await sqs.create("orders", RedrivePolicy=policy)
    await sqs.create("events.fifo", FifoQueue="true")
    await sqs.fill(url, "abc")
    await sqs.receive(url)
    await sqs("SendMessage", QueueUrl=url, MessageBody="d", DelaySeconds=60)
    page = await visitor.get("/")
    assert page.has("queues 3 visible 2 in flight 1 delayed 1")
    assert page.has("orders → dead after 3 receives 2 1 1")
    assert page.has("dead dead letters ← from orders 0 0 0")
    assert page.has("events.fifo FIFO 0 0 0")


async def test_finding_queues(both: tuple[Visitor, Sqs]) -> None:
    """Queues are found by a part of their names."""
    visitor, sqs = both
    await sqs.create("Orders")
    await sqs.create("mail")
    page = await visitor.get("/?q=ord")
    assert (page.has("Orders"), page.has("mail")) == (True, False)
    page = await visitor.get(f"/?q={EVIL}")
    assert page.has("No queue has")
    assert "<script>alert" not in page.text


async def test_what_the_figures_are_of(both: tuple[Visitor, Sqs], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are more queues than the page has, it says that its messages are not those of all of them."""
    visitor, sqs = both
    said = "The messages are those of the queues on this page"
    await sqs.create("a")
    assert not (await visitor.get("/")).has(said)
    monkeypatch.setattr(views, "ROWS", 1)
    await sqs.create("b")
    assert (await visitor.get("/")).has(said)


async def test_pages_of_queues(both: tuple[Visitor, Sqs], monkeypatch: pytest.MonkeyPatch) -> None:
    """Many queues come in pages, each queue on one."""
    visitor, sqs = both
    monkeypatch.setattr(views, "ROWS", 2)
    for name in "abcde":
        await sqs.create(f"queue-{name}")
    path, seen = "/", []
    for _ in range(3):
        page = await visitor.get(path)
        seen += re.findall(r'href="/queues/queue-(\w)"', page.text)
        path = html.unescape("".join(re.findall(r'href="(/\?[^"]*after=[^"]*)"', page.text)))
    assert (seen, path) == (list("abcde"), "")


async def test_messages_are_looked_at(both: tuple[Visitor, Sqs]) -> None:
    """A message is shown with all that it has, and nobody has received it by that."""
    visitor, sqs = both
    url = await sqs.create()
    await sqs(
        "SendMessage",
        QueueUrl=url,
        MessageBody='{"pizza":{"size":2}}',
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "order"}},
    )
    for _ in range(3):
        page = await visitor.get("/queues/q")
    assert "{\n  &#34;pizza&#34;: {\n    &#34;size&#34;: 2\n  }\n}" in page.text
    assert re.search(r'visible {"pizza":{"size":2}} \d s ago', page.words)
    assert page.has("kind String order")
    [message] = await sqs.receive(url, AttributeNames=["All"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    page = await visitor.get("/queues/q")
    assert page.has('in flight {"pizza":{"size":2}} received 1\u00d7')
    assert re.search(r"Visible again in (30|2\d) s", page.words)


async def test_why_a_message_is_a_dead_letter(both: tuple[Visitor, Sqs]) -> None:
    """A dead letter says where it comes from and how often it was received."""
    visitor, sqs = both
    await sqs.create("dead")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 2})
    url = await sqs.create("orders", RedrivePolicy=policy)
    await sqs.fill(url, "a")
    for _ in range(3):
        await sqs.receive(url, VisibilityTimeout=0)
    page = await visitor.get("/queues/dead")
    assert page.has("it came from orders , was received 2 times")
    assert (await visitor.get("/queues/orders")).has("a message that was received 2 times goes to dead .")


async def test_finding_messages(both: tuple[Visitor, Sqs]) -> None:
    """Messages are found by their state and by a text in their bodies; the rest comes in pages."""
    visitor, sqs = both
    url = await sqs.create()
    await sqs.fill(url, [f"body-{number:02}" for number in range(30)])
    await sqs.receive(url)
    page = await visitor.get("/queues/q?state=inflight")
    assert (page.has("body-00"), page.has("body-01")) == (True, False)
    page = await visitor.get("/queues/q?q=body-17&state=visible")
    assert (page.has("body-17"), page.has("body-18")) == (True, False)
    assert (await visitor.get("/queues/q?q=needle")).has("None of the 30 messages looked at is like that.")
    path, seen = "/queues/q", []
    while path:
        page = await visitor.get(path)
        seen += re.findall(r'class="preview">body-(\d+)', page.text)
        path = html.unescape("".join(re.findall(r'href="(/queues/q\?[^"]*after=[^"]*)"', page.text)))
    assert seen == [f"{number:02}" for number in range(30)]


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=9999999999999999999", "after=²", "state=other"])
async def test_nonsense_in_a_query(both: tuple[Visitor, Sqs], query: str) -> None:
    """A page with nonsense in its query is the page without."""
    visitor, sqs = both
    await sqs.fill(await sqs.create(), ["found"])
    page = await visitor.get(f"/queues/q?{query}")
    assert (page.status, page.has("found")) == (200, True)


async def test_everything_is_text(both: tuple[Visitor, Sqs]) -> None:
    """Whatever a stranger puts into a body, an attribute, a group, a tag or a query, it is shown and does nothing."""
    visitor, sqs = both
    url = await sqs.create()
    await sqs(
        "SendMessage",
        QueueUrl=url,
        MessageBody=EVIL,
        MessageGroupId="<b>",
        MessageAttributes={"a": {"DataType": "String.<i>", "StringValue": EVIL}},
    )
    await sqs("TagQueue", QueueUrl=url, Tags={"a": "b/c@d"})
    for path in (
        "/queues/q",
        f"/queues/q?q={EVIL}&state={EVIL}",
        "/queues/q/settings",
        f"/queues/q/confirm/drop?message_id={EVIL}&sequence={EVIL}",
        f"/queues/{EVIL}",
        f"/{EVIL}",
    ):
        page = await visitor.get(path)
        assert "<script>alert" not in page.text
        assert not re.search("<b>&|<i>", page.text)
    assert (await visitor.get("/queues/q")).has(EVIL)


async def test_a_whole_body(both: tuple[Visitor, Sqs]) -> None:
    """A long body is cut in the list; all of it is there as plain text, which no browser takes for a page."""
    visitor, sqs = both
    body = "<html>" + "x" * 50_000
    await sqs.fill(await sqs.create(), ["first", body])
    page = await visitor.get("/queues/q")
    assert page.has("48.8 KiB · the whole body")
    assert len(page.text) < 40_000
    shown = await visitor.get("/queues/q/messages/2")
    assert (shown.text, shown.headers["Content-Type"]) == (body, "text/plain; charset=utf-8")
    for path in ("/queues/q/messages/3", "/queues/q/messages/x", "/queues/q/messages/0"):
        assert (await visitor.get(path)).status == 404


async def test_settings(both: tuple[Visitor, Sqs]) -> None:
    """The settings of a queue are in their fields; a FIFO queue has some more."""
    visitor, sqs = both
    await sqs.create(VisibilityTimeout="77")
    page = await visitor.get("/queues/q/settings")
    assert 'name="VisibilityTimeout" type="number" value="77"' in page.text
    assert 'name="DelaySeconds" type="number" value="0"' in page.text
    assert page.has("arn:aws:sqs:us-east-1:000000000000:q")
    assert not page.has("Deduplication scope")
    await sqs.create("q.fifo", FifoQueue="true")
    assert (await visitor.get("/queues/q.fifo/settings")).has("Deduplication scope")


async def test_labels_and_headings(both: tuple[Visitor, Sqs]) -> None:
    """Every field has a name, every page one heading, a language and landmarks, for those who do not see it."""
    visitor, sqs = both
    await sqs.fill(await sqs.create(), "a")
    for path in ("/", "/queues/q", "/queues/q/send", "/queues/q/settings", "/queues/q/confirm/redrive", "/nowhere"):
        text = (await visitor.get(path)).text
        assert text.count("<h1") == text.count("<main") == text.count('<html lang="en">') == 1
        assert len(re.findall(r'\sid="([^"]+)"', text)) == len(set(re.findall(r'\sid="([^"]+)"', text)))
        labelled = re.sub(r"<label(?! for)[^>]*>.*?</label>", "", text, flags=re.DOTALL)
        for field in re.findall(r"<(?:input|select|textarea)[^>]*>", labelled):
            name = re.search(r'id="([^"]+)"', field)
            assert 'type="hidden"' in field or "aria-label" in field or (name and f'for="{name[1]}"' in text), field


async def test_buttons_of_who_may_only_look(redis_server: RedisServer, tmp_path: Path) -> None:
    """A page has no button for what somebody's key does not allow."""
    file = tmp_path / "keys.toml"
    file.write_text('[ALL]\nsecret = "secret of all"\n[LOOK]\nsecret = "secret of look"\n')
    file.write_text(file.read_text() + 'allow = ["*:GetQueueAttributes,ReceiveMessage,ListQueueTags"]\n')
    file.chmod(0o600)
    acts = ("Send a message", "Redrive…", "Pause", "Purge…", "Delete…")
    settings = ("Save attributes", "Remove", "Set tag", "Delete the queue…")
    async with visiting(redis_server.url, keys_file=file) as (visitor, sqs):
        dead = await sqs.create("dead")
        await sqs.fill(dead, "a")
        await sqs("TagQueue", QueueUrl=dead, Tags={"a": "b"})
        policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 1})
        await sqs.create("q", RedrivePolicy=policy)
        for name, wanted in (("ALL", True), ("LOOK", False)):
            await visitor.login(name, f"secret of {name.lower()}")
            page = await visitor.get("/queues/dead")
            assert [page.has(act) for act in acts] == [wanted] * len(acts)
            page = await visitor.get("/queues/dead/settings")
            assert [page.has(act) for act in settings] == [wanted] * len(settings)
