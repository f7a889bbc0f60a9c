// The life of two queues with the AWS SDK for Java v2.

import java.net.URI;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sqs.model.*;

public class Cycle {
    private static final String BODY = "a \"body\" <&> ж 🍕\r\n";

    private static MessageAttributeValue text(String type, String value) {
        return MessageAttributeValue.builder().dataType(type).stringValue(value).build();
    }

    public static void main(String[] arguments) {
        SqsClient sqs = SqsClient.builder().endpointOverride(URI.create(System.getenv("QUESTD_URL"))).build();
        String url = sqs.createQueue(r -> r.queueName("orders")
                .attributes(Map.of(QueueAttributeName.VISIBILITY_TIMEOUT, "60")).tags(Map.of("team", "a"))).queueUrl();
        sqs.sendMessage(r -> r.queueUrl(url).messageBody(BODY).messageAttributes(Map.of(
                "color", text("String", "blue"),
                "blob", MessageAttributeValue.builder().dataType("Binary")
                        .binaryValue(SdkBytes.fromByteArray(new byte[] {0, (byte) 255})).build(),
                "count", text("Number", "3"))));
        Message first = sqs.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(1).messageAttributeNames("All")
                .messageSystemAttributeNames(MessageSystemAttributeName.ALL)).messages().get(0);
        sqs.changeMessageVisibility(r -> r.queueUrl(url).receiptHandle(first.receiptHandle()).visibilityTimeout(0));
        Message again = sqs.receiveMessage(r -> r.queueUrl(url)).messages().get(0);
        sqs.deleteMessage(r -> r.queueUrl(url).receiptHandle(again.receiptHandle()));

        sqs.sendMessageBatch(r -> r.queueUrl(url).entries(IntStream.range(0, 10).mapToObj(i ->
                SendMessageBatchRequestEntry.builder().id("" + i).messageBody("message " + i).build()).toList()));
        List<Message> batch = sqs.receiveMessage(r -> r.queueUrl(url).maxNumberOfMessages(10)).messages();
        int deleted = sqs.deleteMessageBatch(r -> r.queueUrl(url).entries(IntStream.range(0, batch.size()).mapToObj(i ->
                DeleteMessageBatchRequestEntry.builder().id("" + i).receiptHandle(batch.get(i).receiptHandle()).build())
                .toList())).successful().size();

        CompletableFuture.delayedExecutor(200, TimeUnit.MILLISECONDS)
                .execute(() -> sqs.sendMessage(r -> r.queueUrl(url).messageBody("late")));
        String polled = sqs.receiveMessage(r -> r.queueUrl(url).waitTimeSeconds(10)).messages().get(0).body();
        String error = "";
        try {
            sqs.getQueueUrl(r -> r.queueName("nothing"));
        } catch (QueueDoesNotExistException absent) {
            error = absent.awsErrorDetails().errorCode();
        }
        String tag = sqs.listQueueTags(r -> r.queueUrl(url)).tags().get("team");

        String fifo = sqs.createQueue(r -> r.queueName("orders.fifo")
                .attributes(Map.of(QueueAttributeName.FIFO_QUEUE, "true"))).queueUrl();
        int sequence = 0;
        for (String body : List.of("a", "a", "b")) {
            sequence = sqs.sendMessage(r -> r.queueUrl(fifo).messageBody(body).messageGroupId("g")
                    .messageDeduplicationId(body)).sequenceNumber().length();
        }
        String bodies = sqs.receiveMessage(r -> r.queueUrl(fifo).maxNumberOfMessages(10)).messages().stream()
                .map(message -> '"' + message.body() + '"').collect(Collectors.joining(","));
        int queues = sqs.listQueues().queueUrls().size();
        sqs.purgeQueue(r -> r.queueUrl(url));
        for (String queue : List.of(url, fifo)) {
            sqs.deleteQueue(r -> r.queueUrl(queue));
        }
        System.out.printf("{\"body\":%b,\"blob\":\"%s\",\"count\":\"%s\",\"received\":\"%s\",\"batch\":%d,"
                + "\"polled\":\"%s\",\"error\":\"%s\",\"tags\":{\"team\":\"%s\"},\"queues\":%d,\"fifo\":[%s],"
                + "\"sequence\":%d}%n",
                first.body().equals(BODY),
                HexFormat.of().formatHex(first.messageAttributes().get("blob").binaryValue().asByteArray()),
                first.messageAttributes().get("count").stringValue(),
                first.attributes().get(MessageSystemAttributeName.APPROXIMATE_RECEIVE_COUNT),
                deleted, polled, error, tag, queues, bodies, sequence);
    }
}
