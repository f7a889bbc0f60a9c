"""What `questd check` finds: whether `questd serve` would start with these settings, on this Redis, and do what.

It asks those who own a setting, and changes nothing, neither on disk nor in Redis.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

from redis.exceptions import NoPermissionError

from questd import declared, grants, library, loader, port, promises, scheme, source, tables, topology
from questd.access import keys_of
from questd.embedded import StartFailed, fitting, servers, socket_of, url_of
from questd.primaries import client_of
from questd.settings import BadSetting, Settings, hidden

OK, NOTE, WRONG = "ok", "note", "WRONG"

HELP = """\
Tell whether `questd serve` would start with these settings, on this Redis, and what it would do; change nothing.
The exit status is 0 when it would, 1 when something is wrong.

  questd check --config questd.toml

The file has settings first, then queues, which serve makes or changes at start and on SIGHUP:

  port = 9324

  [queues.orders]
  VisibilityTimeout = 60
  dead_letter_queue = "orders-dead"
  max_receive_count = 5
  tags = { team = "shop" }

  [queues.orders-dead]
  MessageRetentionPeriod = 1209600

  [queues."mail.fifo"]
  ContentBasedDeduplication = true

A queue has SQS's attributes (RedrivePolicy, RedriveAllowPolicy and Policy as tables or as JSON), tags, and with
multi_region a region and an account. What the file does not name stays as it is.
"""


class Finding(NamedTuple):
    """One thing that was looked at."""

    verdict: str
    text: str

    def __str__(self) -> str:
        return f"{self.verdict:5}  {hidden(self.text)}"


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what there is to say, one thing after the other."""
    sound = True
    for look in (_ports, _keys, _certificate, _queues, _durability, _private_server):
        finding = _found(look, settings)
        sound = sound and finding.verdict != WRONG
        if finding.text:
            yield finding
    url = _url(settings)
    if url and sound:
        yield from asyncio.run(_redis(settings.model_copy(update={"redis_url": url})))
    elif url:
        yield Finding(NOTE, "Redis: not asked before the rest is right")


def _found(look: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(OK, look(settings))
    except (BadSetting, StartFailed) as error:
        return Finding(WRONG, str(error))


def _ports(settings: Settings) -> str:
    port.check(settings)
    wanted = {"port": settings.port, "console_port": settings.console_port}
    taken = [str(number) for name, number in wanted.items() if number != "off" and port.is_taken(settings, name)]
    now = f" (in use now, by a questd that runs or by another program: {', '.join(taken)})" if taken else ""
    return f"listens on {settings.host}, port {settings.port}; console: {settings.console_port}{now}"


def _keys(settings: Settings) -> str:
    keys = keys_of(settings.keys_file, settings.keys)
    if settings.keys_file and not keys:
        return f"access: {settings.keys_file} has no key, so nobody may do more than a queue's policy opens to all"
    if keys:
        return f"access: requests are signed with one of {len(keys)} keys"
    return f"access: no keys, so anyone who can reach {settings.host} may use every queue"


def _certificate(settings: Settings) -> str:
    return f"TLS: HTTPS with {settings.tls_cert}" if port.tls(settings) else "TLS: none, plain HTTP"


def _queues(settings: Settings) -> str:
    if settings.config is None:
        return "queues: none declared, for no --config is given"
    queues = tables.read(settings)
    if not settings.redis_url and (settings.ephemeral or not (settings.data_dir / "server").exists()):
        declared.check_new(queues)  # no server has kept data there
    return f"queues: {len(queues)} declared in {settings.config}"


def _durability(settings: Settings) -> str:
    promises.check(settings)
    return f"durability: {settings.durability}"


def _private_server(settings: Settings) -> str:
    """Return what there is to say of questd's own server, '' when there is another."""
    if settings.redis_url:
        return ""
    data = None if settings.ephemeral else settings.data_dir
    server = fitting(data, servers())
    if data is None:
        return f"Redis: a private {server}, which keeps nothing; every declared queue will be made"
    there = next(path for path in (data, *data.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise StartFailed(f"cannot keep data in {data}: {there} is not a directory that can be written")
    runs = "runs" if _url(settings) else "will be started: which queues it has is not known"
    return f"Redis: a private {server} with data in {data}, which {runs}"


def _url(settings: Settings) -> str | None:
    """Return the URL of the Redis, None for questd's own one while it does not run."""
    if settings.redis_url or settings.ephemeral:
        return settings.redis_url
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        if path := socket_of(settings.data_dir):
            probe.connect(str(path))  # a questd that was killed leaves its socket behind
            return url_of(path)
    return None


async def _redis(settings: Settings) -> list[Finding]:
    """Return what there is to say of a Redis that runs."""
    url, found = str(settings.redis_url), list[Finding]()
    try:
        await scheme.checked(_look_into(settings, url, found), url)
    except NoPermissionError as error:
        found.append(Finding(WRONG, str(grants.GrantsMissing([grants.rule_against(error)]))))
    except BadSetting as error:
        found.append(Finding(WRONG, str(error)))
    except loader.REFUSALS as error:
        found.append(Finding(WRONG, loader.explained(error, url)))
    return found


async def _look_into(settings: Settings, url: str, found: list[Finding]) -> None:
    """Add what there is to say to what was found; what went before a failure counts too."""
    loaded, primaries = True, topology.of(url)
    for each in await primaries.urls():
        finding, there = await _server(each, clustered=primaries.clustered)
        found.append(finding)
        loaded = loaded and there
    found += [Finding(NOTE, f"Redis: {doubt}") for doubt in await promises.doubts(url, promises.durability(settings))]
    if loaded and settings.config:
        found += [Finding(OK, f"queue {name} {what}") for name, what in await declared.outlook(settings)]


async def _server(url: str, *, clustered: bool) -> tuple[Finding, bool]:
    """Return what a server is, and whether it has our version of the library."""
    async with client_of(url) as client:
        server = await library.server_of(client, clustered=clustered)
        loaded = await library.loaded_version(client.execute_command)
        library.refuse_newer(loaded)
    ours = source.version()
    has = f"has version {loaded} of the library" if loaded else "has no library"
    will = "" if loaded == ours else f", {ours} will be loaded; its queues were not looked at"
    return Finding(OK if loaded == ours else NOTE, f"Redis: {server} at {url} {has}{will}"), loaded == ours
