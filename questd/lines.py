"""Lines: those of a file or of standard input, as soon as they are there, without a thread that Ctrl-C waits for."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

STANDARD = "-"
"""How standard input and output are called where a file is named."""

PIECE = 64 * 1024


def opened(name: str) -> BinaryIO:
    """Open a file to read. Raises OSError."""
    return sys.stdin.buffer if name == STANDARD else Path(name).open("rb")


def count(file: BinaryIO) -> int | None:
    """Return how many lines a file has, None for one that can be read only once."""
    if file is sys.stdin.buffer or not file.seekable():
        return None
    number = sum(1 for _ in file)
    file.seek(0)
    return number


async def read(file: BinaryIO) -> AsyncGenerator[list[bytes]]:
    """Yield the lines that are there, without their ends, until the file has ended."""
    rest = b""
    while piece := await _piece(file.fileno()):
        *lines, rest = (rest + piece).split(b"\n")
        if lines:
            yield [line.removesuffix(b"\r") for line in lines]
    if rest:
        yield [rest]


async def _piece(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a file on a disk never lets anybody wait
        return os.read(descriptor, PIECE)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, PIECE)
