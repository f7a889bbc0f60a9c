// The life of two queues with the AWS SDK for JavaScript v3.
import { SQS, QueueDoesNotExist } from "@aws-sdk/client-sqs";

const BODY = 'a "body" <&> ж 🍕\r\n';
const sqs = new SQS({ endpoint: process.env.QUESTD_URL });
const seen = {};

const { QueueUrl } = await sqs.createQueue({
  QueueName: "orders", Attributes: { VisibilityTimeout: "60" }, tags: { team: "a" },
});
await sqs.sendMessage({
  QueueUrl, MessageBody: BODY,
  MessageAttributes: {
    color: { DataType: "String", StringValue: "blue" },
    blob: { DataType: "Binary", BinaryValue: Uint8Array.of(0, 255) },
    count: { DataType: "Number", StringValue: "3" },
  },
});
let { Messages: [message] } = await sqs.receiveMessage({
  QueueUrl, MessageSystemAttributeNames: ["All"], MessageAttributeNames: ["All"], WaitTimeSeconds: 1,
});
seen.body = message.Body === BODY;
seen.blob = Buffer.from(message.MessageAttributes.blob.BinaryValue).toString("hex");
seen.count = message.MessageAttributes.count.StringValue;
seen.received = message.Attributes.ApproximateReceiveCount;
await sqs.changeMessageVisibility({ QueueUrl, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: 0 });
({ Messages: [message] } = await sqs.receiveMessage({ QueueUrl }));
await sqs.deleteMessage({ QueueUrl, ReceiptHandle: message.ReceiptHandle });

const numbers = [...Array(10).keys()];
await sqs.sendMessageBatch({
  QueueUrl, Entries: numbers.map((i) => ({ Id: String(i), MessageBody: `message ${i}` })),
});
const { Messages } = await sqs.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10 });
const deleted = await sqs.deleteMessageBatch({
  QueueUrl, Entries: Messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle })),
});
seen.batch = deleted.Successful.length;

const poll = sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 10 });
setTimeout(() => sqs.sendMessage({ QueueUrl, MessageBody: "late" }), 200);
seen.polled = (await poll).Messages[0].Body;
try {
  await sqs.getQueueUrl({ QueueName: "nothing" });
} catch (error) {
  seen.error = error instanceof QueueDoesNotExist ? error.constructor.name : String(error);
}
seen.tags = (await sqs.listQueueTags({ QueueUrl })).Tags;

const fifo = (await sqs.createQueue({ QueueName: "orders.fifo", Attributes: { FifoQueue: "true" } })).QueueUrl;
let sent;
for (const body of "aab") {
  sent = await sqs.sendMessage({ QueueUrl: fifo, MessageBody: body, MessageGroupId: "g", MessageDeduplicationId: body });
}
seen.sequence = sent.SequenceNumber.length;
seen.fifo = (await sqs.receiveMessage({ QueueUrl: fifo, MaxNumberOfMessages: 10 })).Messages.map(({ Body }) => Body);
seen.queues = (await sqs.listQueues({})).QueueUrls.length;
await sqs.purgeQueue({ QueueUrl });
for (const url of [QueueUrl, fifo]) await sqs.deleteQueue({ QueueUrl: url });
console.log(JSON.stringify(seen));
