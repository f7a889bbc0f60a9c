"""How long messages of quiet tenants wait beside a noisy one: with groups, without groups, and without the noisy one.

Run by hand: python -m tests.bench.fair. Ten consumers take one message at a time and work 100 ms on each; ten quiet
tenants send one message a second each. The clock is the library's own and is moved by hand, so nothing depends on the
machine; every receive and delete is a call of the library on a real server.
"""

import random

import msgpack

from tests.lua.quest import Quest, key_of
from tests.servers import DEFAULT, running

CONSUMERS = 10
TENANTS = 10
WORK_MS = 100
STEP_MS = 10
NOISY = 100_000
SECONDS = 60


def _send(quest: Quest, tenant: str, count: int, *, grouped: bool) -> None:
    group = tenant if grouped else ""
    head = msgpack.packb({"MessageGroupId": group}) if grouped else b""
    quest.ask(
        "quest_send", "orders", *[part for _ in range(count) for part in (b"." * 16, "", head, tenant, group, "")]
    )


def dwell_times(quest: Quest, noisy: int, *, grouped: bool, seconds: int) -> tuple[list[int], int]:
    """Return how many ms each message of a quiet tenant waited for its receive, and how many of them still wait."""
    quest.create()
    chance = random.Random(1)
    for start in range(0, noisy, 100):
        _send(quest, "noisy", min(100, noisy - start), grouped=grouped)
    busy_until = [0] * CONSUMERS
    working: list[tuple[int, str]] = []
    waits: list[int] = []
    sent = 0
    next_send = [chance.randrange(1000) for _ in range(TENANTS)]
    for now_ms in range(0, seconds * 1000, STEP_MS):
        for tenant, due_ms in enumerate(next_send):
            if due_ms <= now_ms:
                _send(quest, f"t{tenant}", 1, grouped=grouped)
                sent += 1
                next_send[tenant] += 1000
        for handle in [handle for until_ms, handle in working if until_ms <= now_ms]:
            quest.delete(handle)
        working = [(until_ms, handle) for until_ms, handle in working if until_ms > now_ms]
        for consumer in range(CONSUMERS):
            if busy_until[consumer] > now_ms:
                continue
            for message in quest.receive(1, 60_000):
                busy_until[consumer] = now_ms + WORK_MS
                working.append((now_ms + WORK_MS, message.handle))
                if message.body != "noisy":
                    waits.append(quest.clock() - message.sent_ms)
        quest.advance(STEP_MS)
    return sorted(waits), sent - len(waits)


def main() -> None:
    """Print a row for each case."""
    print(
        f"{TENANTS} quiet tenants beside {NOISY} messages of a noisy one, {SECONDS} s, {CONSUMERS} consumers of {WORK_MS} ms"
    )
    with running(DEFAULT) as server, server.client() as client:
        quest = Quest(client)
        cases = (
            ("no noisy tenant", 0, True),
            ("noisy, with MessageGroupId", NOISY, True),
            ("noisy, without", NOISY, False),
        )
        for what, noisy, grouped in cases:
            quest.reset()
            waits, waiting = dwell_times(quest, noisy, grouped=grouped, seconds=SECONDS)
            p95 = f"{waits[int(len(waits) * 0.95)]:5} ms" if waits else "    never"
            print(f"  {what:28} received {len(waits):4}   still waiting {waiting:4}   p95 dwell time {p95}")
            client.delete(key_of("orders"))


if __name__ == "__main__":
    main()
