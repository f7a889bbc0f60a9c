"""The table of actions: what a client can ask for, by AWS's name."""

from questd.action import Action
from questd.batches import ChangeMessageVisibilityBatch, DeleteMessageBatch, SendMessageBatch
from questd.messages import ChangeMessageVisibility, DeleteMessage, ReceiveMessage, SendMessage
from questd.permissions import AddPermission, RemovePermission
from questd.queues import (
    CreateQueue,
    DeleteQueue,
    GetQueueAttributes,
    GetQueueUrl,
    ListQueues,
    PurgeQueue,
    SetQueueAttributes,
)
from questd.redrive import (
    CancelMessageMoveTask,
    ListDeadLetterSourceQueues,
    ListMessageMoveTasks,
    StartMessageMoveTask,
)
from questd.tags import ListQueueTags, TagQueue, UntagQueue

ACTIONS: dict[str, type[Action]] = {
    action.__name__: action
    for action in (
        AddPermission,
        CancelMessageMoveTask,
        ChangeMessageVisibility,
        ChangeMessageVisibilityBatch,
        CreateQueue,
        DeleteMessage,
        DeleteMessageBatch,
        DeleteQueue,
        GetQueueAttributes,
        GetQueueUrl,
        ListDeadLetterSourceQueues,
        ListMessageMoveTasks,
        ListQueueTags,
        ListQueues,
        PurgeQueue,
        ReceiveMessage,
        RemovePermission,
        SendMessage,
        SendMessageBatch,
        SetQueueAttributes,
        StartMessageMoveTask,
        TagQueue,
        UntagQueue,
    )
}
