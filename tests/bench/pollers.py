"""Many long polls on one queue, in a process of their own so that their CPU does not count.

Run: python pollers.py HOST PORT QUEUE_URL COUNT. It says "waiting" when all have asked, then a line "number ns" for every
message received (its body; CLOCK_MONOTONIC), and at the end of its input how many polls ended too early with nothing.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable

WAIT = 20
EARLY = WAIT - 0.5


class Poller(asyncio.Protocol):
    """One connection that always has a long poll."""

    def __init__(self, request: bytes, ended: Callable[[float, bytes], None]) -> None:
        self._request = request
        self._ended = ended
        self._answer = b""
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Report a whole answer and ask again."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().rpartition(b"content-length:")[2].split()[0]):
            self._answer = b""
            self._ended(time.monotonic() - self._asked, body)
            self._ask()


async def _poll(host: str, port: int, url: str, count: int) -> None:
    early = 0

    def ended(seconds: float, body: bytes) -> None:
        nonlocal early
        received = time.monotonic_ns()
        messages = json.loads(body or b"{}").get("Messages", [])
        early += not messages and seconds < EARLY
        for message in messages:
            _say(f"{message['Body']} {received}")

    members = {"QueueUrl": url, "WaitTimeSeconds": WAIT, "VisibilityTimeout": 43200}
    asked = json.dumps(members).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Length: {len(asked)}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.create_connection(lambda: Poller(head.encode() + asked, ended), host, port)
    _say("waiting")
    await asyncio.to_thread(sys.stdin.read)
    _say(f"early {early}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_poll(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
