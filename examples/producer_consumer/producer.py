"""Make the queue `orders` with its dead-letter queue, and send ten orders in one batch."""

import json

import boto3

sqs = boto3.client("sqs")

dead = sqs.create_queue(QueueName="orders-dead")["QueueUrl"]
arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
orders = sqs.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy})["QueueUrl"]

entries = [{"Id": str(n), "MessageBody": json.dumps({"order": n, "pizzas": n % 4})} for n in range(10)]
answer = sqs.send_message_batch(QueueUrl=orders, Entries=entries)
if "Failed" in answer:  # a batch is no transaction: each message has an outcome of its own
    raise SystemExit(answer["Failed"])
print("sent", len(answer["Successful"]), "orders")
