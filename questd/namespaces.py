"""Namespaces: which region and account a request means, and how a queue of another one than this server's own is named.

A queue of the server's own region and account goes by its bare name everywhere inside; one of another namespace by
`~region/account/name`, which sorts behind every bare name. Redis and Lua see names only.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from questd.settings import Settings

CREDENTIAL = re.compile(r"Credential=([^/,\s&]+)/[0-9]{8}/([a-z0-9-]{1,30})/sqs/aws4_request")
AWS_REGION = r"[a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}"
HOST = re.compile(rf"sqs\.({AWS_REGION})\.|({AWS_REGION})\.queue\.")
"""A host that says a region: not sqs.example.com, which may be this server's own name."""

REGION = re.compile(r"[a-z0-9-]{1,30}", re.ASCII)
ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)

QUEUE_NAME = re.compile(r"(?=.{1,80}\Z)[A-Za-z0-9_-]+(\.fifo)?", re.ASCII)
"""What a queue may be called. It also keeps a name from leaving its hash tag."""

FIFO = ".fifo"
"""How the names of FIFO queues end, and no others."""

ARN_PARTS = 6
"""arn, partition, service, region, account, resource: with colons in between."""

BEHIND = "~"
"""How the name of a queue of another namespace begins: behind all that a bare name may begin with."""


class Namespace(NamedTuple):
    """A region and an account. `home` is the server's own; None when it knows no other."""

    region: str
    account: str
    home: tuple[str, str] | None = None

    def of_account(self, account: str) -> "Namespace":
        """Return the namespace of another account, if there are several, and if it is one."""
        return self._replace(account=account) if self.home and ACCOUNT.fullmatch(account) else self

    def of_region(self, region: str) -> "Namespace":
        """Return the namespace of another region, if there are several, and if it can be one."""
        return self._replace(region=region) if self.home and REGION.fullmatch(region) else self

    def name(self, bare: str) -> str:
        """Return what a queue of this namespace is called inside."""
        if self.home in (None, (self.region, self.account)):
            return bare
        return f"{BEHIND}{self.region}/{self.account}/{bare}"


NOWHERE = Namespace("", "")
"""Of a request that has not been looked at."""


def home_of(settings: Settings) -> Namespace:
    """Return a server's own namespace."""
    region, account = settings.region, settings.account
    return Namespace(region, account, (region, account) if settings.multi_region else None)


def of_request(home: Namespace, headers: Mapping[str, str], target: str) -> Namespace:
    """Return the namespace of a request: by its signature, else by its host.

    An access key of twelve digits is an account, as users of LocalStack know it.
    """
    if not home.home:
        return home
    signature = headers.get("authorization") or unquote(target.partition("?")[2])
    credential = CREDENTIAL.search(signature)
    if credential:
        return home.of_region(credential[2]).of_account(credential[1])
    host = HOST.match(headers.get("host", "").lower())
    return home.of_region(host[1] or host[2]) if host else home


def parts(home: Namespace, name: str) -> tuple[str, str, str]:
    """Return region, account and bare name of a queue."""
    if not name.startswith(BEHIND):
        return home.region, home.account, name
    region, account, bare = name.removeprefix(BEHIND).split("/")
    return region, account, bare


def arn(home: Namespace, name: str) -> str:
    """Return the ARN of a queue."""
    region, account, bare = parts(home, name)
    return f"arn:{partition(region)}:sqs:{region}:{account}:{bare}"


def name_of(home: Namespace, arn_: str) -> str | None:
    """Return the queue that an ARN names; None when it can be none of this server's."""
    split = arn_.split(":", ARN_PARTS - 1)
    if len(split) != ARN_PARTS:
        return None
    region, account, bare_name = split[3:]
    name = home.of_region(region).of_account(account).name(bare_name)
    return name if arn_ == arn(home, name) and QUEUE_NAME.fullmatch(bare_name) else None


def partition(region: str) -> str:
    """Return the name of the cloud that a region is part of, for ARNs."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def bare(name: str) -> str:
    """Return a queue's name as its clients know it."""
    return name.rpartition("/")[2]
