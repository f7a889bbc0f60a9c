// The life of two queues with the AWS SDK for Go v2.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const body = "a \"body\" <&> ж 🍕\r\n"

// must returns what a call gave, or ends the program with its error.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func text(dataType, value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: &dataType, StringValue: &value}
}

func main() {
	ctx := context.Background()
	url := os.Getenv("QUESTD_URL")
	client := sqs.New(sqs.Options{
		BaseEndpoint: &url,
		Region:       "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID:     os.Getenv("AWS_ACCESS_KEY_ID"),
				SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			}, nil
		}),
	})
	seen := map[string]any{}

	queue := must(client.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName:  aws.String("orders"),
		Attributes: map[string]string{"VisibilityTimeout": "60"},
		Tags:       map[string]string{"team": "a"},
	})).QueueUrl
	must(client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: queue, MessageBody: aws.String(body),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"color": text("String", "blue"),
			"blob":  {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}},
			"count": text("Number", "3"),
		},
	}))
	message := must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: queue, MessageAttributeNames: []string{"All"}, WaitTimeSeconds: 1,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})).Messages[0]
	seen["body"] = *message.Body == body
	seen["blob"] = hex.EncodeToString(message.MessageAttributes["blob"].BinaryValue)
	seen["count"] = message.MessageAttributes["count"].StringValue
	seen["received"] = message.Attributes["ApproximateReceiveCount"]
	must(client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: queue, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: 0,
	}))
	message = must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue})).Messages[0]
	must(client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: queue, ReceiptHandle: message.ReceiptHandle}))

	var entries []types.SendMessageBatchRequestEntry
	var handles []types.DeleteMessageBatchRequestEntry
	for i := range 10 {
		id := fmt.Sprint(i)
		entries = append(entries, types.SendMessageBatchRequestEntry{Id: &id, MessageBody: aws.String("message " + id)})
	}
	must(client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: queue, Entries: entries}))
	batch := must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue, MaxNumberOfMessages: 10}))
	for i, message := range batch.Messages {
		handles = append(handles, types.DeleteMessageBatchRequestEntry{
			Id: aws.String(fmt.Sprint(i)), ReceiptHandle: message.ReceiptHandle,
		})
	}
	deleted := must(client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: queue, Entries: handles}))
	seen["batch"] = len(deleted.Successful)

	time.AfterFunc(200*time.Millisecond, func() {
		must(client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue, MessageBody: aws.String("late")}))
	})
	polled := must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue, WaitTimeSeconds: 10}))
	seen["polled"] = polled.Messages[0].Body
	_, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("nothing")})
	var absent *types.QueueDoesNotExist
	if errors.As(err, &absent) {
		seen["error"] = "QueueDoesNotExist"
	}
	seen["tags"] = must(client.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: queue})).Tags

	fifo := must(client.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: aws.String("orders.fifo"), Attributes: map[string]string{"FifoQueue": "true"},
	})).QueueUrl
	for _, one := range []string{"a", "a", "b"} {
		sent := must(client.SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: fifo, MessageBody: &one, MessageGroupId: aws.String("g"), MessageDeduplicationId: &one,
		}))
		seen["sequence"] = len(*sent.SequenceNumber)
	}
	bodies := []string{}
	for _, message := range must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: fifo, MaxNumberOfMessages: 10,
	})).Messages {
		bodies = append(bodies, *message.Body)
	}
	seen["fifo"] = bodies
	seen["queues"] = len(must(client.ListQueues(ctx, &sqs.ListQueuesInput{})).QueueUrls)
	must(client.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: queue}))
	for _, url := range []*string{queue, fifo} {
		must(client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: url}))
	}
	must(0, json.NewEncoder(os.Stdout).Encode(seen))
}
