"""The life of two queues with aiobotocore."""

import asyncio
import json
import os

from aiobotocore.session import get_session

BODY = 'a "body" <&> ж 🍕\r\n'


async def cycle() -> None:
    """Go through it, and print what was seen."""
    async with get_session().create_client("sqs", endpoint_url=os.environ["QUESTD_URL"]) as sqs:
        seen = {}
        given = {"VisibilityTimeout": "60"}
        url = (await sqs.create_queue(QueueName="orders", Attributes=given, tags={"team": "a"}))["QueueUrl"]
        attributes = {
            "color": {"DataType": "String", "StringValue": "blue"},
            "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            "count": {"DataType": "Number", "StringValue": "3"},
        }
        await sqs.send_message(QueueUrl=url, MessageBody=BODY, MessageAttributes=attributes)
        reply = await sqs.receive_message(
            QueueUrl=url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"], WaitTimeSeconds=1
        )
        [message] = reply["Messages"]
        seen["body"] = message["Body"] == BODY
        seen["blob"] = message["MessageAttributes"]["blob"]["BinaryValue"].hex()
        seen["count"] = message["MessageAttributes"]["count"]["StringValue"]
        seen["received"] = message["Attributes"]["ApproximateReceiveCount"]
        handle = message["ReceiptHandle"]
        await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        [message] = (await sqs.receive_message(QueueUrl=url))["Messages"]
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

        entries = [{"Id": str(i), "MessageBody": f"message {i}"} for i in range(10)]
        await sqs.send_message_batch(QueueUrl=url, Entries=entries)
        messages = (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
        handles = [{"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages)]
        seen["batch"] = len((await sqs.delete_message_batch(QueueUrl=url, Entries=handles))["Successful"])

        poll = asyncio.create_task(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10))
        await asyncio.sleep(0.2)
        await sqs.send_message(QueueUrl=url, MessageBody="late")
        seen["polled"] = (await poll)["Messages"][0]["Body"]
        try:
            await sqs.get_queue_url(QueueName="nothing")
        except sqs.exceptions.QueueDoesNotExist as error:
            seen["error"] = type(error).__name__
        seen["tags"] = (await sqs.list_queue_tags(QueueUrl=url))["Tags"]

        fifo = (await sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"}))["QueueUrl"]
        for body in "aab":
            sent = await sqs.send_message(
                QueueUrl=fifo, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body
            )
        seen["sequence"] = len(sent["SequenceNumber"])
        messages = (await sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10))["Messages"]
        seen["fifo"] = [message["Body"] for message in messages]
        seen["queues"] = len((await sqs.list_queues())["QueueUrls"])
        await sqs.purge_queue(QueueUrl=url)
        for queue in (url, fifo):
            await sqs.delete_queue(QueueUrl=queue)
        print(json.dumps(seen))


asyncio.run(cycle())
