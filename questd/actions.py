"""The table of actions: what a client can ask for, by AWS's name."""

from questd.action import Action
from questd.batches import ChangeMessageVisibilityBatch, DeleteMessageBatch, SendMessageBatch
from questd.messages import ChangeMessageVisibility, DeleteMessage, ReceiveMessage, SendMessage
from questd.queues import (
    CreateQueue,
    DeleteQueue,
    GetQueueAttributes,
    GetQueueUrl,
    ListQueues,
    PurgeQueue,
    SetQueueAttributes,
)

ACTIONS: dict[str, type[Action]] = {
    action.__name__: action
    for action in (
        ChangeMessageVisibility,
        ChangeMessageVisibilityBatch,
        CreateQueue,
        DeleteMessage,
        DeleteMessageBatch,
        DeleteQueue,
        GetQueueAttributes,
        GetQueueUrl,
        ListQueues,
        PurgeQueue,
        ReceiveMessage,
        SendMessage,
        SendMessageBatch,
        SetQueueAttributes,
    )
}
