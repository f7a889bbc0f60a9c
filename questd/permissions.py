"""AddPermission and RemovePermission: statements of a queue's policy, added and taken out one by one."""

import re

from questd import errors, policies
from questd.action import Questd, QueueAction
from questd.facts import Facts
from questd.members import Strings
from questd.mistakes import missing
from questd.namespaces import ACCOUNT
from questd.request import Request

LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)

OWNER_ONLY = frozenset(
    "AddPermission CancelMessageMoveTask CreateQueue DeleteQueue ListMessageMoveTasks ListQueueTags ListQueues "
    "RemovePermission SetQueueAttributes StartMessageMoveTask TagQueue UntagQueue".split()
)


class PermissionAction(QueueAction):
    """What the two have in common: a label."""

    Label: str

    def model_post_init(self, _context: object, /) -> None:
        """Check the label's form."""
        if not self.Label:
            raise missing("Label")
        if not LABEL.fullmatch(self.Label):
            raise errors.InvalidParameter(
                self.Label,
                "Label",
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            )

    async def __call__(self, questd: Questd, _request: Request) -> None:
        """Change the policy."""

        def fields(facts: Facts) -> dict[str, str]:
            return {"Policy": self.changed(facts.Policy, questd.arn(self.QueueUrl))}

        await questd.change(self.QueueUrl, fields)

    def changed(self, policy: str, arn: str) -> str:
        """Return the policy of a queue as it is to be."""
        raise NotImplementedError


class AddPermission(PermissionAction):
    """Let accounts do something with a queue."""

    AWSAccountIds: Strings | None = None
    Actions: Strings | None = None

    def model_post_init(self, context: object, /) -> None:
        """Check what is granted."""
        super().model_post_init(context)
        if not self.Actions:
            raise missing("Actions")
        policies.check_permission(self.AWSAccountIds or [], self.Actions)
        for action in self.Actions:
            if action in OWNER_ONLY:
                raise errors.InvalidParameter(
                    f"SQS:{action}", "ActionName", "Only the queue owner is allowed to invoke this action."
                )
            if action not in policies.GRANTABLE:
                raise errors.InvalidParameter(
                    f"SQS:{action}",
                    "ActionName",
                    "Please refer to the appropriate WSDL for a list of valid actions. ",
                )
        accounts = self.AWSAccountIds or []
        if not accounts or not all(ACCOUNT.fullmatch(account) for account in accounts):
            raise errors.InvalidParameter(f"[{', '.join(accounts)}]", "PrincipalId", "Unable to verify.")

    def changed(self, policy: str, arn: str) -> str:
        """Return the policy with this permission in it."""
        return policies.add(policy, arn, self.Label, self.AWSAccountIds or [], self.Actions or [])


class RemovePermission(PermissionAction):
    """Take a permission back."""

    def changed(self, policy: str, _arn: str) -> str:
        """Return the policy without this permission."""
        return policies.remove(policy, self.Label)
