"""A shop's queues as somebody at work would see them: for pictures of the console."""

import asyncio
import json
import random
import time

from questd.history import History, Sample
from tests.client import ARN, Sqs

QUEUES = ("orders", "payments", "mail", "invoices", "search-index")


async def furnish(sqs: Sqs) -> None:
    """Make queues, messages in each state, dead letters and a move."""
    for name in ("orders-dead", "payments-dead"):
        await sqs.create(name)
    for name in QUEUES:
        target = f"{name}-dead" if name in ("orders", "payments") else ""
        policy = json.dumps({"deadLetterTargetArn": f"{ARN}:{target}", "maxReceiveCount": 3})
        await sqs.create(name, **({"RedrivePolicy": policy} if target else {}))
    await sqs.create("stock-events.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    letters = [_order(number, broken=True) for number in range(4)]
    await sqs.fill("orders", letters)
    for _ in range(4):
        await sqs.receive("orders", MaxNumberOfMessages=10, VisibilityTimeout=0)
    await asyncio.gather(*(sqs.fill(name, [_order(i) for i in range(20 * place)]) for place, name in enumerate(QUEUES)))
    await sqs.fill("orders", [_order(number) for number in range(4, 12)])
    await sqs.receive("orders", MaxNumberOfMessages=3, VisibilityTimeout=600)
    for number in range(7):
        group = f"shop-{number % 3}"
        await sqs("SendMessage", QueueUrl="stock-events.fifo", MessageBody=_order(number), MessageGroupId=group)
    await sqs("SendMessage", QueueUrl="mail", MessageBody='{"to":"ada@example.com"}', DelaySeconds=900)
    await sqs.advance(95)


def _order(number: int, *, broken: bool = False) -> str:
    items = [{"sku": "margherita", "count": 1 + number % 3}, {"sku": "tiramisu", "count": 1}]
    return json.dumps({"order": 1000 + number, "customer": "ada", "items": items, "total": None if broken else 21.5})


def remember(past: History) -> None:
    """Give a history the hour that a picture cannot wait for; it ends with what is."""
    chance, now = random.Random(7), time.monotonic()
    for samples in (*past._samples.values(), past._total):
        last = samples[-1]
        samples.clear()
        drafts, sent = [], 0
        level = float(last.visible)
        for step in range(360):
            rush = 3 if 180 < step < 230 else 1
            level += chance.gauss(0, last.visible / 8) + (last.visible * rush - level) * (0.1 if step < 330 else 0.4)
            sent += max(0, round(chance.gauss(last.visible * rush, last.visible / 4)))
            visible = max(0, round(level))
            drafts.append(
                (now - 3600 + 10 * step, visible, round(visible * chance.uniform(0.2, 0.3)), last.delayed, sent)
            )
        samples += [Sample(*draft[:4], draft[4] - sent + last.sent) for draft in drafts]
        samples.append(last._replace(time=now))
