"""Access: who may do what with which queue: the rights of access keys, and what a queue's policy adds or takes away.

Keys come from a file or from the settings; signatures.py says whose a request is.
"""

import hmac
import math
import os
import stat
import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from questd import errors, namespaces, policies, redrive
from questd.action import FACTS_LIMIT, Action, CallAction, Questd, QueueAction
from questd.actions import ACTIONS
from questd.namespaces import QUEUE_NAME
from questd.request import Request
from questd.settings import BadSetting
from questd.signatures import signer

EVERYTHING = "*:*"

ROOT = 0
"""The user who may have the keys' file beside questd's own: as containers mount it."""


FRESH_SECONDS = 1.0
"""How old a policy may be by which a process judges: another one may have changed it."""


def _right(text: str) -> str:
    queues, _, actions = text.partition(":")
    unknown = [name for name in actions.split(",") if name != "*" and name not in ACTIONS]
    if not queues or unknown:
        raise ValueError(f"should be like orders-*:SendMessage,GetQueueUrl with AWS's names of actions, not {text!r}")
    return text


class Key(BaseModel):
    """What a file says of one access key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret: str = Field(min_length=8, repr=False)
    account: str | None = Field(None, pattern="^[0-9]{12}$")
    """Whose it is; the server's own account by default."""
    allow: list[Annotated[str, AfterValidator(_right)]] = [EVERYTHING]
    """Rights: a pattern of queue names, and actions, `*` being all of them."""

    def may(self, action: str, queue: str) -> bool:
        """Tell whether one of its rights covers an action on a queue ('' for none in particular)."""
        for right in self.allow:
            pattern, _, actions = right.partition(":")
            if policies.like(queue, pattern) and {"*", action, policies.single(action)} & set(actions.split(",")):
                return True
        return False


Keys = dict[str, Key]


def keys_of(file: Path | None, listed: str | None) -> Keys:
    """Return the keys in a file (a TOML table for each id) and in a list `id:secret,id:secret`.

    Raises BadSetting, which never tells a secret.
    """
    return (_read(file) if file else {}) | (_listed(listed) if listed else {})


def _read(file: Path) -> Keys:
    try:
        status = file.stat()
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise BadSetting(f"{file} can be read by others than its owner: chmod 600 {file}")
        if status.st_uid not in {os.geteuid(), ROOT}:
            raise BadSetting(f"{file} belongs to another user, who could change the keys: chown it")
        if not os.access(file, os.R_OK):
            raise BadSetting(f"{file} cannot be read")
        return TypeAdapter(Keys).validate_python(tomllib.loads(file.read_text()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadSetting(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{file}: {error}") from None


def _listed(text: str) -> Keys:
    keys: Keys = {}
    for number, pair in enumerate(text.split(","), 1):
        name, _, secret = pair.strip().partition(":")
        try:
            keys[name] = Key(secret=secret)
        except ValidationError:
            text = f"key {number} of --keys (QUESTD_KEYS) should be id:secret, the secret of 8 characters or more"
            raise BadSetting(text) from None
        if not name:
            raise BadSetting(f"key {number} of --keys (QUESTD_KEYS) has no id")
    return keys


@dataclass(frozen=True)
class Principal:
    """Who asks: somebody with a key, or nobody in particular."""

    account: str = ""
    user: str = ""
    key: Key | None = None

    @property
    def arn(self) -> str:
        """Return the ARN of the user, '' for anybody."""
        return f"arn:aws:iam::{self.account}:user/{self.user}" if self.key else ""


ANYBODY = Principal()


@dataclass(frozen=True)
class Resource:
    """What is asked for: a queue by its bare name, '' for none in particular, its owner's account, and its Policy."""

    queue: str
    owner: str
    arn: str
    policy: str = ""


def why_not(principal: Principal, action: str, resource: Resource) -> str | None:
    """Return why somebody may not do something with a queue, in AWS's words; None when he may.

    In his own account a right of his key or the queue's policy is enough, and nothing helps against a denial; others
    need both, and never what is the owner's alone.
    """
    policy, name = resource.policy, policies.single(action)
    verdict = policies.verdict(policy, principal.account, principal.arn, action, resource.arn) if policy else None
    if verdict == "Deny":
        return "with an explicit deny in a resource-based policy"
    allowed = verdict == "Allow" and name in policies.GRANTABLE
    covered = principal.key is None or principal.key.may(action, resource.queue)
    own = principal.account == resource.owner
    if (covered or allowed) if own else (covered and allowed):
        return None
    lacking = "resource" if covered else "identity"
    return f"because no {lacking}-based policy allows the sqs:{name.lower()} action"


class Access:
    """The gate of one process: who signed a request, and whether he may have what he asks for."""

    def __init__(self, keys: Keys, account: str) -> None:
        self._account = account
        self._secrets = {name: key.secret for name, key in keys.items()}
        self._principals = {name: Principal(key.account or account, name, key) for name, key in keys.items()}
        self._looked: dict[str, float] = {}  # when each queue's policy was asked for

    def identify(self, request: Request) -> None:
        """Say in the request who signed it. Raises what AWS answers to a signature that is not good."""
        name = signer(request, self._secrets, datetime.now(UTC))
        if name:
            self.admit(request, name)

    def admit(self, request: Request, name: str) -> None:
        """Say in the request whose it is: somebody's who has proved that the key is his."""
        request.principal = name
        request.namespace = request.namespace.of_account(self._principals[name].account)

    def knows(self, name: str, secret: str) -> bool:
        """Tell whether this is the secret of a key."""
        right = hmac.compare_digest(self._secrets.get(name, "").encode(), secret.encode())
        return right and name in self._secrets

    def trusts(self, name: str, secret: str) -> bool:
        """Tell whether this is the secret of a key that may do everything."""
        principal = self._principals.get(name, ANYBODY)
        all_rights = principal.key is not None and EVERYTHING in principal.key.allow
        return self.knows(name, secret) and all_rights and principal.account == self._account

    def seal(self, name: str, text: str) -> str:
        """Return what only who has the key's secret can say of a text; '' when there is no such key."""
        secret = self._secrets.get(name, "")
        return hmac.new(secret.encode(), text.encode(), "sha256").hexdigest() if secret else ""

    def check_at_once(self, questd: Questd, request: Request, action: CallAction) -> bool:
        """Do as `check` does if nothing has to be asked for; tell whether it was done."""
        queue = action.QueueUrl
        facts = questd.facts.get(queue)
        if facts is None or not self._is_fresh(queue):
            return False
        self._judge(questd, request, action.needs or type(action).__name__, queue, facts.Policy)
        return True

    async def check(self, questd: Questd, request: Request, action: Action) -> None:
        """Raise AccessDenied unless who signed the request may do what it asks for."""
        for name, queue in _wanted(questd, request, action):
            self._judge(questd, request, name, queue, await self._policy(questd, queue) if queue else "")

    def _judge(self, questd: Questd, request: Request, name: str, queue: str, policy: str) -> None:
        principal = self._principals.get(request.principal, ANYBODY)
        resource = _resource(questd, request, queue, policy)
        reason = why_not(principal, name, resource)
        if reason and principal.key:
            asked = f"sqs:{policies.single(name).lower()}"
            raise errors.AccessDenied(principal.arn, asked, resource.arn, reason)
        if reason:
            raise errors.AnonymousDenied(questd.url(queue, request))

    def _is_fresh(self, queue: str) -> bool:
        return time.monotonic() - self._looked.get(queue, -math.inf) < FRESH_SECONDS

    async def _policy(self, questd: Questd, queue: str) -> str:
        """Return a queue's policy, as it was FRESH_SECONDS ago or later; '' of a queue that is not there."""
        now, is_fresh = time.monotonic(), self._is_fresh(queue)
        try:
            policy = (await (questd.facts_of if is_fresh else questd.relearn)(queue)).Policy
        except errors.QueueDoesNotExist:
            return ""
        if not is_fresh:
            if len(self._looked) >= FACTS_LIMIT:
                self._looked.clear()
            self._looked[queue] = now
        return policy


def _resource(questd: Questd, request: Request, queue: str, policy: str) -> Resource:
    if not queue:
        region, account, _ = request.namespace
        return Resource("", account, f"arn:{namespaces.partition(region)}:sqs:{region}:{account}:")
    _, account, bare = namespaces.parts(questd.home, queue)
    return Resource(bare, account, questd.arn(queue), policy)


def _wanted(questd: Questd, request: Request, action: Action) -> list[tuple[str, str]]:
    """Return what an action needs: names of actions, each with a queue's name inside, '' for none in particular."""
    name = action.needs or type(action).__name__
    if isinstance(action, QueueAction):
        return [(name, action.QueueUrl)]
    bare = getattr(action, "QueueName", None)
    if bare:
        namespace = request.namespace.of_account(getattr(action, "QueueOwnerAWSAccountId", None) or "")
        return [(name, namespace.name(bare) if QUEUE_NAME.fullmatch(bare) else "")]
    arns = {name: redrive.source_of(action), "SendMessage": getattr(action, "DestinationArn", None)}
    return [(each, questd.name_of(arn) or "") for each, arn in arns.items() if arn] or [(name, "")]
