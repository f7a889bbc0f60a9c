"""A web application that answers at once and leaves the work to a worker, here a task beside it in the same process.

Orders outlive a restart, because they are in the queue; run as many of these processes as you like.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiobotocore.session import get_session
from fastapi import FastAPI, Request, status


async def bake(sqs: Any, orders: str) -> None:  # noqa: ANN401  # botocore makes its classes as it runs
    """Receive orders and bake them, until cancelled."""
    while True:
        answer = await sqs.receive_message(QueueUrl=orders, MaxNumberOfMessages=10, WaitTimeSeconds=20)
        for message in answer.get("Messages", []):
            print("baked", message["Body"], flush=True)
            await sqs.delete_message(QueueUrl=orders, ReceiptHandle=message["ReceiptHandle"])


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Have a client, the queue and a worker as long as the application runs."""
    async with get_session().create_client("sqs") as sqs:
        orders = (await sqs.create_queue(QueueName="orders"))["QueueUrl"]
        app.state.sqs, app.state.orders = sqs, orders
        worker = asyncio.create_task(bake(sqs, orders))
        yield
        worker.cancel()  # what it has received and not deleted is visible again after its timeout
        with contextlib.suppress(asyncio.CancelledError):
            await worker


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{pizza}", status_code=status.HTTP_202_ACCEPTED)
async def order(pizza: str, request: Request) -> dict[str, str]:
    """Accept an order: it is safe when this is answered, and baked soon."""
    state = request.app.state
    sent = await state.sqs.send_message(QueueUrl=state.orders, MessageBody=pizza)
    return {"order": sent["MessageId"]}
