"""The table of actions: what a client can ask for, by AWS's name."""

from questd import extensions, localstack
from questd.action import Action
from questd.batches import ChangeMessageVisibilityBatch, DeleteMessageBatch, SendMessageBatch
from questd.messages import ChangeMessageVisibility, DeleteMessage, SendMessage
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
from questd.receive import ReceiveMessage
from questd.redrive import (
    CancelMessageMoveTask,
    ListDeadLetterSourceQueues,
    ListMessageMoveTasks,
    StartMessageMoveTask,
)
from questd.request import Request
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

NAMES = (*ACTIONS, *extensions.ACTIONS)
"""All that a request can be about, questd's own actions too."""


def named(name: str, request: Request) -> type[Action] | None:
    """Return the action of a name, where a request asks for it."""
    table = localstack.ACTIONS if request.target != "/" and request.peeks else ACTIONS
    return table.get(name)


DIFFERENCES = {
    "AddPermission": "enforced with access keys only",
    "CancelMessageMoveTask": "the task is CANCELLED at once",
    "ChangeMessageVisibility": "",
    "ChangeMessageVisibilityBatch": "",
    "CreateQueue": "a name is free again at once after DeleteQueue (60 s with `--strict-aws`)",
    "DeleteMessage": "standard queues: an older receipt handle answers 200 and never deletes a later delivery",
    "DeleteMessageBatch": "as DeleteMessage",
    "DeleteQueue": "at once",
    "GetQueueAttributes": "the counts are exact, but for messages just past their retention period",
    "GetQueueUrl": "",
    "ListDeadLetterSourceQueues": "",
    "ListMessageMoveTasks": "",
    "ListQueueTags": "",
    "ListQueues": "by name",
    "PurgeQueue": "at once, as often as you like (every 60 s with `--strict-aws`)",
    "ReceiveMessage": "a short poll returns what there is; standard queues give the oldest message first; "
    "`SenderId` is the access key, or the account without keys",
    "RemovePermission": "",
    "SendMessage": "KMS keys are kept and returned, not used; no throughput quotas; a Number of any size, with any "
    "number of digits, is taken (AWS's documentation has 38), and returned as it was sent",
    "SendMessageBatch": "as SendMessage",
    "SetQueueAttributes": "at once; a policy is enforced with access keys only, and its conditions are not known",
    "StartMessageMoveTask": "as fast as Redis allows unless a rate is given; a queue remembers ten tasks",
    "TagQueue": "",
    "UntagQueue": "",
}
"""What a client can tell from AWS, by action; docs/differences.md shows it."""


def table() -> str:
    """Return all actions, what each is for and what differs from AWS, as the Markdown table of docs/differences.md."""
    rows = [("action", "", "what differs from AWS"), ("---", "---", "---")]
    rows += [(name, (action.__doc__ or "").splitlines()[0], DIFFERENCES[name]) for name, action in ACTIONS.items()]
    return "\n".join("".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in rows)
