"""Backups: all that the private Redis holds as one file, Redis's own snapshot (RDB), and a data directory made of one.

The server writes it from a fork of itself, at one moment for every queue, and goes on meanwhile. What is stored is none
of this module's business.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import redis
from redis.exceptions import RedisError

from questd.embedded import StartFailed, choose, locked, servers, socket_of

MANIFEST = "file appendonly.aof.1.base.rdb seq 1 type b\n"
"""What tells a server of version 7 or newer that its append-only file begins with a snapshot, and has no more yet."""

WRITER = re.compile(rb"(?:REDIS\d{4}|VALKEY\d{3})\xfa[\x09\x0a](redis|valkey)-ver.(\d+(?:\.\d+)+)", re.DOTALL)
"""How a snapshot begins: the version of its form, from Valkey 9 on one of its own, and the server that wrote it."""

ENDING, ENDING_BYTES = b"\xff", 9
"""How a snapshot ends: a byte that says so, and a checksum, which the server looks at."""

LOOKS_SECONDS = 0.05
"""Between two looks at how far a snapshot is."""

Tell = Callable[[str], None]
"""Shows how far it is."""


def take(directory: Path, file: Path, tell: Tell) -> None:
    """Write all that the private Redis of `directory` holds to `file`; it must be running. Raises StartFailed."""
    path = socket_of(directory)
    if path is None:
        raise StartFailed(f"no questd runs on {directory}: copy that directory as it is, or name another --data-dir")
    try:
        with redis.Redis(unix_socket_path=str(path), protocol=2, decode_responses=True) as client:
            snapshot = _snapshot(client, tell)
        try:
            _copy(snapshot, file)
        finally:
            snapshot.unlink(missing_ok=True)
    except (RedisError, OSError) as error:
        raise StartFailed(f"no backup was made: {error}") from None


def _snapshot(client: redis.Redis, tell: Tell) -> Path:
    """Have the server write a snapshot, and return where it did."""
    before = client.info("persistence")["rdb_saves"]  # begun ones
    client.bgsave(schedule=True)  # after a rewrite of the append-only file, when one is under way
    while (state := client.info("persistence"))["rdb_saves"] == before or state["rdb_bgsave_in_progress"]:
        if total := state.get("current_save_keys_total"):
            tell(f"key {state['current_save_keys_processed']} of {total}")
        time.sleep(LOOKS_SECONDS)
    if state["rdb_last_bgsave_status"] != "ok":
        raise StartFailed("no backup was made: the private Redis could not write it, server.log says why")
    config = client.config_get("dir", "dbfilename")
    return Path(str(config["dir"]), str(config["dbfilename"]))


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that there is all of it under its new name, on disk and for this user only, or nothing."""
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)  # a file or a link that somebody else has put there would be his
        with source.open("rb") as reader, open(part, "xb", opener=_private) as writer:  # its opener
            shutil.copyfileobj(reader, writer, 2**20)
            writer.flush()
            os.fsync(writer.fileno())
        part.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def restore(file: Path, directory: Path) -> None:
    """Make a data directory out of a snapshot; there must be no data in it yet. Raises StartFailed."""
    try:
        wrote = _writer(file)
        lock = locked(directory, time.sleep)
        try:
            _lay(file, directory, wrote)
        finally:
            os.close(lock)
    except OSError as error:
        raise StartFailed(f"nothing was restored: {error}") from None


def _writer(file: Path) -> str:
    """Return which server wrote a snapshot, as a data directory notes it."""
    with file.open("rb") as reader:
        wrote = WRITER.match(reader.read(100))
        if wrote is None:
            raise StartFailed(f"{file} is no snapshot of a Redis or Valkey (RDB)")
        reader.seek(-ENDING_BYTES, os.SEEK_END)
        if reader.read(1) != ENDING:
            raise StartFailed(f"{file} is not whole")
    return f"{wrote[1].decode()} {wrote[2].decode()}\n"


def _lay(file: Path, directory: Path, wrote: str) -> None:
    """Put a snapshot where the server looks for its append-only file: all of it, or nothing."""
    target, part = directory / "appendonlydir", directory / "appendonlydir.part"
    if target.exists():
        raise StartFailed(f"there is data in {directory} already: name another --data-dir, or move that one away")
    (directory / "server").write_text(wrote)
    choose(directory, servers())  # raises when none here can read it
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    try:
        _copy(file, part / "appendonly.aof.1.base.rdb")
        (part / "appendonly.aof.manifest").write_text(MANIFEST)
        part.replace(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
