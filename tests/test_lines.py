"""Lines of files and of standard input, as they come."""

import asyncio
import os
from pathlib import Path

from questd import lines


async def test_lines_of_a_file(tmp_path: Path) -> None:
    """A file's lines come without their ends, those of Windows too, and the last one needs none."""
    file = tmp_path / "file"
    file.write_bytes(b"one\r\n\ntwo\nthree")
    with lines.opened(str(file)) as opened:
        assert lines.count(opened) == 4
        assert [line async for found in lines.read(opened) for line in found] == [b"one", b"", b"two", b"three"]


async def test_a_long_file(tmp_path: Path) -> None:
    """Lines that are longer than what is read at a time come whole."""
    long = [str(number).encode() * lines.PIECE for number in range(3)]
    file = tmp_path / "file"
    file.write_bytes(b"\n".join(long))
    with lines.opened(str(file)) as opened:
        assert [line async for found in lines.read(opened) for line in found] == long


async def test_lines_of_a_pipe_come_at_once() -> None:
    """What stands in a pipe is there before the pipe ends; a line without its end is waited for."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as pipe:
        assert lines.count(pipe) is None
        found = lines.read(pipe)
        os.write(theirs, b"one\ntw")
        assert await anext(found) == [b"one"]
        waiting = asyncio.create_task(anext(found))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        os.write(theirs, b"o\n")
        assert await waiting == [b"two"]
        os.close(theirs)
        assert [line async for line in found] == []


async def test_a_wait_can_be_ended() -> None:
    """Who waits for a pipe that says nothing can be cancelled, and reads on later."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as pipe:
        waiting = asyncio.create_task(anext(lines.read(pipe)))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        os.write(theirs, b"one\n")
        assert await anext(lines.read(pipe)) == [b"one"]
        os.close(theirs)
