"""Many concurrent calls, few round trips: the automatic pipeline on one connection.

What one tick of the event loop queues is written together, or in few pieces; replies come back in order. It owns the
connection, its deadline, its bounds and its return after a loss. It knows commands and replies, not what they mean.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from questd.calls import Call, Caller, Waiting, tell
from questd.durability import CannotPromise, Durability, Proof
from questd.wire import Address, Wire

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.5
"""Seconds between attempts to connect: doubling from the first to the longest."""

BATCH_BYTES = 2**20
"""About how much is written at once; the rest waits until the transport wants more."""

LAST_LOOK = 0.001
"""Seconds that a silent Redis gets when the deadline is over: what has come may not have been read yet."""

PING = pack_command(("PING",))

Held = list[tuple[Call, Any]]
"""Writes and their replies, of which nobody hears before they are proved."""


class RedisUnavailable(Exception):
    """Redis cannot do it now, or did it and could not say so; the text says why."""


LOSSES = (RedisUnavailable, RedisError, OSError)
"""What ends a connection; anything else that does is a mistake of ours, and logged as one."""


class Pipeline:
    """The shared connection to the Redis at `url`.

    `deadline`: seconds without any reply after which all waiting calls fail. `max_calls`, `max_bytes`: how many calls,
    and bytes of their commands, may wait for replies. Raises ValueError when the URL is none of Redis.
    `find`, if given, is asked for the URL before every connection, and what is there must be a primary.
    `durability`: what must be proved before the caller of a write hears of it.
    """

    def __init__(  # noqa: PLR0913  # all but the URL have a name and a default
        self,
        url: str,
        *,
        find: Callable[[], Awaitable[str]] | None = None,
        durability: Durability | None = None,
        deadline: float = 5.0,
        max_calls: int = 10_000,
        max_bytes: int = 256 * 2**20,
    ) -> None:
        self.connects: list[Callable[[], None]] = []
        """Called after every successful connection, the first one too."""
        self.losses: list[Callable[[], None]] = []
        """Called whenever a connection was lost, or could not be made again."""
        self.calls = self.writes = 0
        """How many calls were written, in how many pieces; whoever counts them takes them away."""
        self._find = find
        self._durability = durability
        self._proof: Proof | None = None
        self._held: Held | None = None  # while a proof is waited for
        self._deadline = deadline
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()  # asking for it is a system call on Python 3.11
        self._address = Address(url)
        self._wire: Wire | None = None
        self._down: str | None = "Redis cannot be reached: not connected yet"
        self._queued: list[Call] = []
        self._written: deque[Call] = deque()
        self._bytes = 0
        self._will_write = False
        self._progress = 0.0  # when the last reply came, or the first command after an idle time was written
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether calls are taken now."""
        return self._down is None

    @property
    def waiting(self) -> int:
        """How many calls wait for their replies."""
        return len(self._queued) + len(self._written)

    @property
    def gives_up_at(self) -> float:
        """When the connection is given up (time.monotonic()), unless a reply comes; as things are, if nothing waits."""
        return (self._progress if self._written else time.monotonic()) + self._deadline

    async def connect(self) -> None:
        """Connect for the first time, and stay connected from then on; raises RedisUnavailable."""
        await self._open()
        self.start()

    def start(self) -> None:
        """Connect as soon as that can be done, and stay connected from then on."""
        self._keeper = asyncio.create_task(self._keep())

    def call(
        self, *command: bytes | str | float, repeat: bool = False, abandoned: Callable[[Any], None] | None = None
    ) -> asyncio.Future[Any]:
        """Queue one command, a word per argument; the future gives its reply.

        It raises ResponseError when the reply is an error, RedisUnavailable when there is none. `repeat`: the command
        may run twice, so it is sent once more after a lost connection. The command of a cancelled future runs all the
        same, and `abandoned` gets its reply, unless that is an error; so it does when what was done is not durable. (A
        task that is cancelled in the tick in which the reply came leaves it in a future that is done, not cancelled:
        that reply is the task's to give back.)
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        try:
            self.begin(command, Waiting(future, abandoned), repeat=repeat)
        except RedisUnavailable as error:
            future.set_exception(error)
            return future
        if not self._will_write:
            self._will_write = True
            self._loop.call_soon(self.write)
        return future

    def begin(self, command: Sequence[bytes | str | float], caller: Caller, *, repeat: bool) -> None:
        """Do as `call` does for a caller that is told later; who begins has it written.

        Raises RedisUnavailable when nothing can be queued.
        """
        packed = pack_command(command)  # type: ignore[arg-type]  # the stub forgot the dots of tuple[…, ...]
        if self._down is not None:
            raise RedisUnavailable(self._down)
        if self.waiting >= self._max_calls or self._bytes + len(packed) > self._max_bytes:
            raise RedisUnavailable("too many calls are waiting for Redis")
        self._bytes += len(packed)
        key = self._durability.key_of(command) if self._durability else ""
        self._queued.append(Call(caller, packed, repeat, key))

    def write(self) -> None:
        """Write what is queued, as far as the transport wants it, but nothing while a proof is waited for.

        Redis would not look at it either, and so one more proof is enough for all that came meanwhile.
        """
        self._will_write = False
        wire = self._wire
        while self._queued and wire and self._held is None and self._down is None and wire.wants_more:
            calls = self._batch()
            if self._proof:
                calls += self._proving(self._proof, calls)
            self._send(wire, calls)

    def leave(self) -> None:
        """Lose the connection now, for the next one that `find` gives."""
        if self._wire:
            self._wire.end(RedisConnectionError("another server is the primary"))

    async def close(self) -> None:
        """Wait for the calls in flight, at most for the deadline, and disconnect."""
        try:
            with contextlib.suppress(TimeoutError, RedisUnavailable):
                async with asyncio.timeout(self._deadline):
                    await self._replied()
        finally:
            unanswered = self._waits
            if self._keeper:
                self._keeper.cancel()
                await asyncio.wait({self._keeper})
            self._down = "Redis cannot be reached: the connection was closed"
            wire = self._wire
            self._end(unsent=not unanswered)
            self._fail_all_but([])
            if wire:
                await wire.gone()

    @property
    def _waits(self) -> bool:
        return bool(self._queued or self._written or self._held)

    async def _replied(self) -> None:
        """Return when nothing waits: replies are in order, so the one to a PING comes behind all others."""
        self._max_calls += 1  # room for the PING
        self._max_bytes += len(PING)
        while self._waits:
            with contextlib.suppress(ResponseError):
                await self.call("PING")

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await self._handshake()
        except TimeoutError as error:
            raise self._silence() from error
        except CannotPromise as error:
            raise RedisUnavailable(f"Redis cannot be used: {error}") from error
        except Exception as error:
            raise RedisUnavailable(f"Redis cannot be reached: {error}") from error
        self._down = None
        self.write()
        for listener in self.connects:
            tell(listener)

    async def _handshake(self) -> None:
        if self._find:
            self._address = Address(await self._find())
        wire = self._wire = await self._address.connect()
        try:
            await self._greet(wire)
        except BaseException:
            self._end()
            raise
        wire.take, wire.resumed = self._take, self.write

    async def _greet(self, wire: Wire) -> None:
        # A server that is still loading its data says so here. Refused for other reasons (ACL, full disk): it is there.
        with contextlib.suppress(ResponseError):
            await wire.ask("PING")
        if self._find:
            with contextlib.suppress(ResponseError):
                role = await wire.ask("ROLE")
                if role[0] != b"master":
                    raise RedisUnavailable("it is a replica, no primary")
        if self._durability:
            self._proof = await self._durability.proof(wire.ask)

    def _end(self, *, unsent: bool = False) -> None:
        """End what is left of the connection; what became of writes that were not proved is not known."""
        self._written.extendleft(call for call, _ in reversed(self._held or ()))
        self._held = None
        if self._wire:
            self._wire.end(RedisConnectionError("the connection was closed"), unsent=unsent)
            self._wire = None

    def _silence(self) -> RedisUnavailable:
        return RedisUnavailable(f"Redis did not answer for {self._deadline:g} s")

    async def _keep(self) -> None:
        """Use one connection after the other."""
        while True:
            await self._reconnect()
            if self._wire:
                self._lose(await self._session(self._wire))

    async def _session(self, wire: Wire) -> BaseException:
        """Return why a connection ended; one on which calls wait and no reply comes for the deadline is ended."""
        patience = False
        while not wire.lost.done():
            left = self.gives_up_at - time.monotonic()
            if left > 0:
                patience = True
            elif not patience:
                return self._silence()
            else:  # this process may have been busy itself: it looks at what has come before it complains
                left, patience = LAST_LOOK, False
            await asyncio.wait({wire.lost}, timeout=left)
        return wire.lost.result()

    def _send(self, wire: Wire, calls: list[Call]) -> None:
        if not self._written:
            self._progress = time.monotonic()
        self._written.extend(calls)
        self.calls += len(calls)
        self.writes += 1
        wire.write([call.packed for call in calls])

    def _proving(self, proof: Proof, calls: list[Call]) -> list[Call]:
        """Return the calls that prove the writes among `calls`: none when there is no write."""
        key = next((call.key for call in calls if call.key), None)
        if key is None:
            return []
        self._held = []
        return self._asking(proof, key, self._held)

    def _asking(self, proof: Proof, key: str, held: Held, *, again: bool = False) -> list[Call]:
        commands = proof.commands(key)
        futures = [self._loop.create_future() for _ in commands]
        asking = [
            Call(Waiting(future, None), packed, repeat=False) for future, packed in zip(futures, commands, strict=True)
        ]
        self._bytes += sum(len(call.packed) for call in asking)
        replies = asyncio.gather(*futures, return_exceptions=True)
        replies.add_done_callback(partial(self._proved, proof, key, held, again=again))
        return asking

    def _proved(self, proof: Proof, key: str, held: Held, replies: asyncio.Future[list[Any]], *, again: bool) -> None:
        """Let the callers of writes hear of them, or of what is wrong."""
        if held is not self._held:
            return  # the connection was lost, and they have heard of that
        other = next((call.key for call, _ in held if call.key != key), None)
        if isinstance(replies.result()[0], ResponseError) and other and self._wire and not again:
            # In a Cluster the queue of `key` may have moved: its write was refused, and so was the mark, there.
            self._send(self._wire, self._asking(proof, other, held, again=True))
            return
        self._held = None
        lack = proof.lack(replies.result())
        for call, reply in held:
            self._bytes -= len(call.packed)
            if lack is None:
                call.answer(reply)
            else:
                call.take_back(reply, RedisUnavailable(lack))
        self.write()

    def _batch(self) -> list[Call]:
        """Take what is queued, of large commands only some: what the transport has cannot be taken back from it."""
        if self._bytes <= BATCH_BYTES:
            calls, self._queued = self._queued, []
            return calls
        size = count = 0
        while count < len(self._queued) and size < BATCH_BYTES:
            size += len(self._queued[count].packed)
            count += 1
        calls = self._queued[:count]
        del self._queued[:count]
        return calls

    def _take(self, reply: Any) -> None:  # noqa: ANN401  # whatever Redis says
        """Give the next call its reply."""
        if isinstance(reply, ReadOnlyError) and self._wire:
            # A primary no more: the next connection may find another, and what must not run twice fails.
            self._wire.end(reply)
            return
        if self._down is not None:
            return
        call = self._written.popleft()
        self._progress = time.monotonic()
        if not isinstance(reply, Exception):
            if call.key and self._held is not None:
                self._held.append((call, reply))
                return
            call.answer(reply)
        elif isinstance(reply, RedisConnectionError):  # LOADING and NOAUTH, as redis-py has them
            call.fail(RedisUnavailable(f"Redis cannot do it now: {reply}"))
        else:
            call.fail(reply)
        self._bytes -= len(call.packed)

    def _lose(self, lost: BaseException | None) -> None:
        """Fail what may have run and must not run twice; queue the rest for the next connection."""
        silent = isinstance(lost, RedisUnavailable)
        self._end()
        self._down = str(lost) if silent else f"Redis cannot be reached: {lost}"
        log.warning("connection lost: %s", self._down, exc_info=None if isinstance(lost, LOSSES) else lost)
        again = [call for call in self._written if call.repeat]
        for call in again:
            call.repeat = False
        self._fail_all_but([] if silent else again + self._queued)
        for listener in self.losses:
            tell(listener)

    async def _reconnect(self) -> None:
        pause = FIRST_PAUSE
        while not self.connected:
            try:
                await self._open()
            except RedisUnavailable as error:
                self._down = str(error)
                self._fail_all_but([])
                for listener in self.losses:
                    tell(listener)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                log.info("connected to Redis again")

    def _fail_all_but(self, kept: list[Call]) -> None:
        """Fail the calls that wait, except these, which are queued."""
        staying = set(kept)
        for call in (*self._written, *self._queued):
            if call not in staying:
                self._bytes -= len(call.packed)
                call.fail(RedisUnavailable(self._down))
        self._written.clear()
        self._queued = kept
