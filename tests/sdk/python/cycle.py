"""The life of two queues with boto3, of any age."""

import json
import os
import threading

import boto3

BODY = 'a "body" <&> ж 🍕\r\n'

sqs = boto3.client("sqs", endpoint_url=os.environ["QUESTD_URL"])
seen = {}

url = sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "60"}, tags={"team": "a"})["QueueUrl"]
sqs.send_message(
    QueueUrl=url,
    MessageBody=BODY,
    MessageAttributes={
        "color": {"DataType": "String", "StringValue": "blue"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "count": {"DataType": "Number", "StringValue": "3"},
    },
)
[message] = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"], WaitTimeSeconds=1)[
    "Messages"
]
seen["body"] = message["Body"] == BODY
seen["blob"] = message["MessageAttributes"]["blob"]["BinaryValue"].hex()
seen["count"] = message["MessageAttributes"]["count"]["StringValue"]
seen["received"] = message["Attributes"]["ApproximateReceiveCount"]
sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
[message] = sqs.receive_message(QueueUrl=url)["Messages"]
sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

entries = [{"Id": str(i), "MessageBody": f"message {i}"} for i in range(10)]
sqs.send_message_batch(QueueUrl=url, Entries=entries)
messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
handles = [{"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages)]
seen["batch"] = len(sqs.delete_message_batch(QueueUrl=url, Entries=handles)["Successful"])

threading.Timer(0.2, lambda: sqs.send_message(QueueUrl=url, MessageBody="late")).start()
seen["polled"] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"]
try:
    sqs.get_queue_url(QueueName="nothing")
except sqs.exceptions.QueueDoesNotExist as error:
    seen["error"] = type(error).__name__
seen["tags"] = sqs.list_queue_tags(QueueUrl=url)["Tags"]

fifo = sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
for body in "aab":
    sent = sqs.send_message(QueueUrl=fifo, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body)
seen["sequence"] = len(sent["SequenceNumber"])
seen["fifo"] = [message["Body"] for message in sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10)["Messages"]]
seen["queues"] = len(sqs.list_queues()["QueueUrls"])
sqs.purge_queue(QueueUrl=url)
for queue in (url, fifo):
    sqs.delete_queue(QueueUrl=queue)
print(json.dumps(seen))
