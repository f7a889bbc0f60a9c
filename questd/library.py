"""The Functions library `quest`: loaded into a Redis, called there, and taken out of it again.

It knows how a call fails and what that means to a client; nothing of messages or HTTP.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from questd import errors, topology
from questd.calls import awaited
from questd.pipeline import Pipeline, RedisUnavailable
from questd.primaries import Call, Execute, Primaries, Route, client_of
from questd.source import OLDEST_REDIS, text, version

log = logging.getLogger(__name__)

AGAIN_SECONDS = 3.0
"""How long a call is repeated while its queue moves from one server to another."""


class LibraryRefused(Exception):
    """The library cannot be loaded or unloaded here; the text says why and what to do."""


def key_of(queue: str) -> str:
    """Return the key that a queue's functions get."""
    return f"quest:{{{queue}}}"


def name_of(key: str) -> str:
    """Return the name of the queue with this key."""
    return key[len("quest:{") : -1]


async def load_with(execute: Execute, *, test_mode: bool) -> None:
    """Load the library: an older one is replaced, a newer one refused."""
    loaded = await loaded_version(execute)
    refuse_newer(loaded)
    if loaded and loaded < version():
        log.info("version %d of the library gives way to version %d", loaded, version())
    await execute("FUNCTION", "LOAD", "REPLACE", text(test_mode=test_mode))


async def loaded_version(execute: Execute) -> int:
    """Return the version of the library in a Redis, 0 for none."""
    try:
        reply = await execute("FCALL", "quest_version", 0)
    except ResponseError as error:
        if "Function not found" in str(error):
            return 0
        raise
    return int(reply[0])


def refuse_newer(loaded: int) -> None:
    """Raise LibraryRefused when the version that is loaded is newer than ours."""
    if loaded > version():
        raise LibraryRefused(
            f"this Redis has version {loaded} of the library, loaded by a newer questd (this one has {version()}). "
            "Run that questd, or remove its library first: questd unload"
        )


async def load(url: str, *, test_mode: bool) -> None:
    """Load the library into the Redis at `url`: into every primary of a Cluster that is there.

    Raises LibraryRefused when that Redis is too old or has a newer library, RedisError or RedisUnavailable when it
    cannot be used.
    """
    primaries = topology.of(url)
    urls, lost = await primaries.urls(), list[RedisConnectionError]()
    for each in urls:
        try:
            await _load(each, clustered=primaries.clustered, test_mode=test_mode)
        except RedisConnectionError as error:
            lost.append(error)
    if len(lost) == len(urls):
        raise lost[0]
    for reason in lost:
        log.warning("the library is not loaded everywhere: %s", reason)


async def server_of(client: Redis, *, clustered: bool) -> str:
    """Return what a server is, like "Redis 7.0.15".

    Raises LibraryRefused when that is too old for us, a Sentinel, or a node of a Cluster and not known as `clustered`.
    """
    server = await client.info("server")
    mode = server.get("server_mode") or server.get("redis_mode")  # Valkey's, Redis's
    if mode == "sentinel":
        raise LibraryRefused("this is a Sentinel, which keeps no messages: use redis+sentinel://host:port/service")
    if mode == "cluster" and not clustered:
        raise LibraryRefused(
            "this is one node of a Redis Cluster, and others have its other slots: use redis+cluster://"
        )
    if "valkey_version" in server:
        return f"Valkey {server['valkey_version']}"
    found = str(server["redis_version"])
    if int(found.split(".", maxsplit=1)[0]) < OLDEST_REDIS:
        needed = f"it needs Redis {OLDEST_REDIS} or Valkey"
        raise LibraryRefused(f"this Redis is version {found}, too old for questd: {needed}")
    return f"Redis {found}"


async def _load(url: str, *, clustered: bool, test_mode: bool) -> None:
    async with client_of(url) as client:
        await server_of(client, clustered=clustered)
        await load_with(client.execute_command, test_mode=test_mode)


async def unload(url: str, *, force: bool) -> None:
    """Take the library, and only this library, out of the Redis at `url`: out of every primary of a Cluster.

    Raises LibraryRefused while a questd runs there, unless `force`; RedisError or RedisUnavailable when Redis cannot
    be used.
    """
    primaries = topology.of(url)
    try:
        await primaries.connect()
        executes = [primary.pipeline.call for primary in primaries.all]
        loaded = [await loaded_version(execute) for execute in executes]
        for primary, there in zip(primaries.all, loaded, strict=True):
            if there and not force and await primary.pipeline.call("FCALL", "quest_holder", 1, primary.lease):
                raise LibraryRefused(
                    "a questd is running on this Redis and would load its library again. Stop it first (or use --force)"
                )
        for execute, there in zip(executes, loaded, strict=True):
            if there:
                await execute("FUNCTION", "DELETE", "quest")
    finally:
        await primaries.close()


class Library:
    """The library as a running questd calls it, through the pipelines of the primaries."""

    def __init__(self, primaries: Primaries, *, test_mode: bool) -> None:
        self.primaries = primaries
        self._test_mode = test_mode
        self._loading: dict[Pipeline, asyncio.Task[None]] = {}
        self._sent: set[asyncio.Task[Any]] = set()

    async def call(
        self,
        function: str,
        key: str,
        *arguments: bytes | str | float,
        repeat: bool = False,
        abandoned: Callable[[Any], None] | None = None,
    ) -> Any:  # noqa: ANN401  # each function documents its reply
        """Call a function of the library with its one key; the reply is as its Lua header says.

        `repeat` and `abandoned` are Pipeline.call's. Raises the SQS error that the function names, ServiceUnavailable
        when Redis cannot do it now, InternalFailure for a mistake of ours. A library that is gone is loaded again, and
        a queue that is elsewhere is followed there.
        """
        command = ("FCALL", function, 1, key, *arguments)
        try:
            return await self._reply(self.primaries.call, command, repeat=repeat, abandoned=abandoned)
        except (ResponseError, RedisUnavailable) as error:
            return await self.recover(error, command, repeat=repeat, abandoned=abandoned)

    async def recover(
        self,
        error: BaseException,
        command: tuple[Any, ...],
        *,
        repeat: bool,
        abandoned: Callable[[Any], None] | None = None,
    ) -> Any:  # noqa: ANN401
        """Go on with a call that failed: repeat it when it did nothing, else raise what its failure means."""
        try:
            if isinstance(error, ResponseError):
                return await self._again(error, command[3], command, repeat=repeat, abandoned=abandoned)
            raise error
        except ResponseError as refused:
            raise self._meaning_of(refused, command[1]) from refused
        except RedisUnavailable as unavailable:
            raise errors.ServiceUnavailable(str(unavailable)) from unavailable

    async def _reply(
        self, call: Call, command: tuple[Any, ...], *, repeat: bool, abandoned: Callable[[Any], None] | None
    ) -> Any:  # noqa: ANN401
        return await awaited(call(*command, repeat=repeat, abandoned=abandoned), abandoned)

    async def _again(
        self,
        error: ResponseError,
        key: str,
        command: tuple[Any, ...],
        *,
        repeat: bool,
        abandoned: Callable[[Any], None] | None,
    ) -> Any:  # noqa: ANN401
        """Repeat a call that was refused and did nothing, where and when it is not; raise the error otherwise."""
        until = asyncio.get_running_loop().time() + AGAIN_SECONDS
        pipeline = self.primaries.of(key).pipeline
        route: Route | None = Route(pipeline, pipeline.call)
        loaded: set[Pipeline] = set()
        while True:
            if route and "Function not found" in str(error) and route.pipeline not in loaded:
                loaded.add(route.pipeline)
                await self._load_again(route.pipeline)
            else:
                route = await self.primaries.after(error, key)
            if route is None:
                raise error
            if asyncio.get_running_loop().time() > until:
                raise RedisUnavailable(f"the queue is between two servers: {error}")
            try:
                return await self._reply(route.call, command, repeat=repeat, abandoned=abandoned)
            except ResponseError as refused:
                error = refused

    async def execute(self, *command: bytes | str | float) -> Any:  # noqa: ANN401
        """Run a plain command, its key first, that may be repeated; fails as `call` does."""
        try:
            try:
                return await self.primaries.call(*command, repeat=True)
            except ResponseError as error:
                return await self._again(error, str(command[1]), command, repeat=True, abandoned=None)
        except ResponseError as error:
            raise self._meaning_of(error, str(command[0])) from error
        except RedisUnavailable as error:
            raise errors.ServiceUnavailable(str(error)) from error

    def send(self, function: str, key: str, *arguments: bytes | str | float) -> None:
        """Call a function for whose outcome nobody waits."""
        task = asyncio.get_running_loop().create_task(self.call(function, key, *arguments))
        self._sent.add(task)
        task.add_done_callback(self._sent_done)

    def _sent_done(self, task: asyncio.Task[Any]) -> None:
        self._sent.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not isinstance(error, errors.QueueDoesNotExist):  # with the queue went what it was about
            log.warning("a call in the background failed: %s", error)

    @staticmethod
    def _meaning_of(error: ResponseError, function: str) -> errors.SQSError:
        text = str(error)
        known = errors.from_redis(text)
        if known:
            return known
        log.error("%s: Redis answered %s", function, text)
        if type(error) is not ResponseError or text.partition(" ")[0].isupper():
            return errors.ServiceUnavailable(text)
        return errors.InternalFailure()

    async def call_everywhere(self, function: str, *arguments: bytes | str | float) -> Any:  # noqa: ANN401
        """Call a function without a key on every primary; the reply is the last one's. Fails as `call` does."""
        command = ("FCALL", function, 0, *arguments)
        try:
            return (await asyncio.gather(*(self._on(each.pipeline, command) for each in self.primaries.all)))[-1]
        except ResponseError as error:
            raise self._meaning_of(error, function) from error
        except RedisUnavailable as error:
            raise errors.ServiceUnavailable(str(error)) from error

    async def check(self) -> None:
        """Raise ServiceUnavailable when no primary can run the library, of this version or a newer one."""
        asked = [self._check(primary.pipeline) for primary in self.primaries.all]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        if all(isinstance(answer, BaseException) for answer in answers):
            raise errors.ServiceUnavailable(str(answers[0]) if answers else "no server")

    async def _check(self, pipeline: Pipeline) -> None:
        if (await self._on(pipeline, ("FCALL", "quest_version", 0)))[0] < version():
            # It was gone, and an older questd was the first to load its own.
            await self._load_again(pipeline)

    async def _on(self, pipeline: Pipeline, command: tuple[Any, ...]) -> Any:  # noqa: ANN401
        try:
            return await pipeline.call(*command)
        except ResponseError as error:
            if "Function not found" not in str(error):
                raise
            await self._load_again(pipeline)
            return await pipeline.call(*command)

    async def _load_again(self, pipeline: Pipeline) -> None:
        """Load the library once for all the calls that missed it together."""
        loading = self._loading.get(pipeline)
        if loading is None or loading.done():
            log.warning("the library was gone from Redis, or an older one is there: loading it again")
            loading = asyncio.create_task(load_with(pipeline.call, test_mode=self._test_mode))
            running = {known: task for known, task in self._loading.items() if not task.done()}
            self._loading = running | {pipeline: loading}
        try:
            await asyncio.shield(loading)
        except LibraryRefused as error:
            raise errors.ServiceUnavailable(str(error)) from error
