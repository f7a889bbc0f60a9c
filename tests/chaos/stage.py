"""What faults are done to: a questd of two workers in processes of its own, and its Redis, the user's or the private one.

It owns processes, the files of Redis and what keys are in it; it knows nothing of loads and of what is wrong with them.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import DEFAULT, RedisServer, running
from tests.test_workers import Questd, alive, serving

ALWAYS, EVERYSEC, EMBEDDED = "always", "everysec", "private"
"""How Redis keeps its append-only file; the private one of questd keeps it as with everysec."""

SAMPLE_SECONDS = 0.02
"""How often the length of the append-only file is noted."""

TORN_FUNCTION = b"*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$10\r\nquest:torn\r\n*2\r\n$4\r\nINCR\r\n$10\r\nque"
"""What a power loss leaves of a function that is on its way to the disk: a command that must not be done, and a half."""

OF_NO_QUEUE = {"quest:queues", "quest:lease"}
DELETED = ":deleted"
"""What a deleted queue leaves for a minute: when that was."""

STAYING = {
    "": "the queue itself",
    ":windows": "what was sent in the last five minutes, to deduplicate",
    ":windows_before": "what was sent in the five minutes before",
    ":waiting": "processes whose long polls may still run",
    DELETED: "when a queue of this name was deleted",
}
"""What an empty queue may have left in Redis, and why."""


@dataclass
class Stage:
    """A running questd and its Redis."""

    durability: str
    questd: Questd
    server: RedisServer | None
    directory: Path
    """Where Redis keeps its file."""
    strokes: int = 0
    """How often the fault was made."""
    lengths: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=1000))
    """The length of the append-only file, and when it was not longer."""

    def redis(self) -> Any:
        """Return a client of Redis (its types fit no reply)."""
        return self.server.client() if self.server else self.questd.redis()

    def ask_redis(self, *command: str | int) -> Any:
        """Run one command there."""
        with self.redis() as client:
            return client.execute_command(*command)

    def redis_pid(self) -> int:
        """Return the process of Redis."""
        return self.server.process.pid if self.server else self.questd.server_pid()

    async def kill_redis(self) -> float:
        """Kill Redis as a crash does; return when it was dead."""
        pid = self.redis_pid()
        if self.server:
            self.server.stop()
        else:
            os.kill(pid, signal.SIGKILL)
            while alive(pid):
                await asyncio.sleep(0.01)
        return time.monotonic()

    async def start_redis(self) -> None:
        """Start it on what it has on disk; the private one is started by questd itself."""
        if self.server:
            await asyncio.to_thread(self.server.start)

    def workers(self) -> list[int]:
        """Return the processes that serve."""
        return [pid for pid in self.questd.pids("serve") if alive(pid)]

    @property
    def log(self) -> str:
        """What questd has said."""
        return self.questd.errors.read_text()

    # The append-only file.

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Note the length of the append-only file again and again, for the length of the block."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _file(self) -> Path:
        """Return the part of it that is written to."""
        return max(self.directory.glob("appendonlydir/*.incr.aof"), key=lambda path: int(path.name.split(".")[2]))

    async def _watch(self) -> None:
        watched = None
        while True:
            now = time.monotonic()
            with contextlib.suppress(FileNotFoundError, ValueError):  # it is thrown away
                path = self._file()
                if path != watched:
                    self.lengths.clear()
                    watched = path
                self.lengths.append((now, path.stat().st_size))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def lose_power(self, unsynced_seconds: float) -> tuple[float, float]:
        """Kill Redis, leave in its file what a disk has had then, the last function torn in two, and start it again.

        `unsynced_seconds`: how long a disk may not have been flushed. Return since when what was written is lost, and
        when Redis was dead.
        """
        async with asyncio.timeout(20):
            while not self.lengths or self.lengths[0][0] > time.monotonic() - unsynced_seconds:
                await asyncio.sleep(SAMPLE_SECONDS)
        self.questd.process.send_signal(signal.SIGSTOP)  # or it starts its Redis again at once
        try:
            killed = await self.kill_redis()
            since = self._cut(killed - unsynced_seconds) if unsynced_seconds else killed
            with self._file().open("ab") as file:
                file.write(TORN_FUNCTION)
        finally:
            self.questd.process.send_signal(signal.SIGCONT)
        await self.start_redis()
        return since, killed

    def _cut(self, lost_since: float) -> float:
        """Cut off what was written since then; return since when it is lost."""
        since, length = max(each for each in self.lengths if each[0] <= lost_since)
        os.truncate(self._file(), length)
        self.lengths.clear()
        return since

    async def rewrite_file(self) -> None:
        """Let Redis write its file anew."""
        self.ask_redis("BGREWRITEAOF")
        while self.persistence("aof_rewrite_in_progress"):
            await asyncio.sleep(SAMPLE_SECONDS)

    def persistence(self, field: str) -> Any:
        """Return what Redis says of its files."""
        with self.redis() as client:
            return client.info("persistence")[field]

    def throw_away(self) -> None:
        """Remove all that Redis, which does not run, has on disk."""
        shutil.rmtree(self.directory / "appendonlydir")

    def left_over(self, staying: Collection[str] = STAYING) -> list[str]:
        """Return the keys that are in Redis without a reason when its queues are empty, or `staying` is what may be."""
        with self.redis() as client:
            keys = {key.decode() for key in client.scan_iter()}
        return sorted(key for key in keys - OF_NO_QUEUE if re.sub(r"quest:\{.*\}", "", key) not in staying)


@contextlib.contextmanager
def staged(durability: str) -> Iterator[Stage]:
    """Run a questd whose Redis keeps its file in this way."""
    with contextlib.ExitStack() as stack:
        if durability == EMBEDDED:
            server, directory = None, stack.enter_context(tempfile.TemporaryDirectory(prefix="questd-chaos-"))
            where = ["--data-dir", directory]
        else:
            options = ("--appendonly", "yes", "--appendfsync", durability, "--auto-aof-rewrite-percentage", "0")
            server = stack.enter_context(running(DEFAULT, *options, "--maxmemory-policy", "noeviction"))
            directory, where = str(server.directory), ["--redis-url", server.url, "--durability", durability]
        questd = stack.enter_context(serving(*where, "--console-port", "off", workers=("--workers", "2")))
        yield Stage(durability, questd, server, Path(directory))
