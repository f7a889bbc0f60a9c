"""Receive orders until SIGTERM or Ctrl-C. What fails is not deleted: it comes again, and ends as a dead letter."""

import json
import signal
from types import FrameType

import boto3

sqs = boto3.client("sqs")
orders = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
ended = False


def end(_number: int, _frame: FrameType | None) -> None:
    """Let the loop finish what it has received, and end."""
    global ended  # noqa: PLW0603  # a signal has nowhere else to go
    ended = True


def bake(order: dict[str, int]) -> None:
    """Do the work. A message may come more than once, so that doing it twice must do no harm."""
    if not order["pizzas"]:
        raise ValueError("an order of nothing")
    print("baked", order["pizzas"], "for order", order["order"], flush=True)


signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
while not ended:
    # The poll is answered as soon as there is a message; VisibilityTimeout is how long the work may take.
    answer = sqs.receive_message(QueueUrl=orders, MaxNumberOfMessages=10, WaitTimeSeconds=2, VisibilityTimeout=30)
    for message in answer.get("Messages", []):
        handle = message["ReceiptHandle"]
        try:
            bake(json.loads(message["Body"]))
        except ValueError as error:
            print("failed:", error, flush=True)
            sqs.change_message_visibility(QueueUrl=orders, ReceiptHandle=handle, VisibilityTimeout=1)  # try again soon
        else:
            sqs.delete_message(QueueUrl=orders, ReceiptHandle=handle)
