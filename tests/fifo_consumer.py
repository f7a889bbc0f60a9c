"""A process of two consumers of a FIFO queue, for test_fifo_torture.py: it writes down what it was given and what it deleted.

    python -m tests.fifo_consumer LOG SEED QUEUE ENDPOINT…

Each line of the log is JSON; times are seconds of the machine's monotonic clock, the same in every process:
a receive has the seconds of its visibility timeout, when it was asked and answered, and [group, number] of each message;
a delete has [group, number], when it was asked, and in a second line (unless the process was killed) its HTTP status.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=10)


class Consumer:
    """One consumer: receives with short random timeouts, deletes most of what it gets, forgets the rest."""

    def __init__(self, session: aiohttp.ClientSession, log: Path, seed: int, queue: str, endpoints: list[str]) -> None:
        self.session = session
        self.log = log
        self.chance = random.Random(seed)
        self.queue = queue
        self.endpoints = endpoints

    async def ask(self, action: str, **members: Any) -> tuple[int, dict[str, Any]]:
        """Ask one of the endpoints, whichever; status 0 when it does not answer."""
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        body = json.dumps({"QueueUrl": self.queue} | members)
        endpoint = self.chance.choice(self.endpoints)
        try:
            async with self.session.post(endpoint, data=body, headers=headers) as response:
                return response.status, json.loads(await response.read() or b"{}")
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(0.01)
            return 0, {}

    def note(self, **what: Any) -> None:
        """Write a line into the log, whole even if the process is killed in the middle of the next."""
        with self.log.open("a") as log:
            log.write(json.dumps(what) + "\n")

    async def run(self) -> None:
        """Consume for ever."""
        while True:
            seconds = self.chance.choice((1, 1, 2))
            asked = time.monotonic()
            most = self.chance.randint(1, 10)
            given = {"MaxNumberOfMessages": most, "VisibilityTimeout": seconds, "WaitTimeSeconds": 1}
            _, reply = await self.ask("ReceiveMessage", **given)
            messages = [
                (json.loads(message["Body"]), message["ReceiptHandle"]) for message in reply.get("Messages", [])
            ]
            if messages:
                names = [name for name, _ in messages]
                self.note(kind="receive", seconds=seconds, asked=asked, answered=time.monotonic(), messages=names)
            for name, handle in messages:
                if self.chance.random() < 0.03:  # it forgets this one and what is behind it
                    break
                if self.chance.random() < 0.02:  # it is slow: some of its handles expire
                    await asyncio.sleep(seconds)
                asked = time.monotonic()
                self.note(kind="delete", name=name, asked=asked)
                status = 0
                while not status:  # a delete whose answer was lost is asked again: it does no harm
                    status, _ = await self.ask("DeleteMessage", ReceiptHandle=handle)
                self.note(kind="deleted", name=name, asked=asked, answered=time.monotonic(), status=status)
                if status != 200:
                    break


async def main(log: str, seed: str, queue: str, *endpoints: str) -> None:
    """Run two consumers."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        consumers = [Consumer(session, Path(log), int(seed) + i, queue, list(endpoints)) for i in (0, 1)]
        await asyncio.gather(*(consumer.run() for consumer in consumers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
