"""A client of an SQS server, questd or another: signed requests in AWS JSON, and errors that say what to do about them.

Where the server is and with which keys to sign comes from flags and variables; what is asked for is not known here.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from pydantic_core import from_json, to_json

from questd import errors, extensions, signatures
from questd.aws_json import CONTENT_TYPE, TARGET_PREFIX
from questd.request import Request
from questd.settings import ENDPOINT
from questd.terminal import Misused

LOCAL = "http://127.0.0.1:9324"
"""Where `questd serve` listens unless it is told otherwise."""

REGION = "us-east-1"

NO_QUEUE = "there is no queue {} at {}: `questd queues` lists them"

TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10)
"""Seconds for an answer: a long poll takes 20."""

PAGE = 1000
"""Queues of one ListQueues, as many as AWS allows."""


class Refused(Exception):
    """What was asked for was not done; the text says why, and what to do."""

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name = name
        """AWS's name of the error; '' for one that is none of AWS's."""


def is_url(queue: str) -> bool:
    """Tell whether a queue is given as a URL, not as a name."""
    return queue.startswith(("http://", "https://"))


def name_of(url: str) -> str:
    """Return the name of a queue, given as a URL or an ARN."""
    return url.rpartition("/")[2].rpartition(":")[2]


def region_of(url: str) -> str:
    """Return the region to sign for: that of an address of AWS, else that of the variables."""
    service, _, rest = (urlsplit(url).hostname or "").partition(".")
    region, _, domain = rest.partition(".")
    if service == "sqs" and domain.startswith("amazonaws.com"):
        return region
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION


def endpoint_of(chosen: str | None, queue: str) -> str:
    """Return the server to ask: the chosen one, else that of a queue's URL, else QUESTD_ENDPOINT, else this machine."""
    found = chosen or (queue if is_url(queue) else os.environ.get(ENDPOINT) or LOCAL)
    try:
        url = urlsplit(found)
        usable = is_url(found) and url.hostname and url.port != 0
    except ValueError:  # a port beyond 65535, a bracket that is not closed
        usable = False
    if not usable:
        raise Misused(f"{found} is no endpoint: it should be like {LOCAL}")
    return f"{url.scheme}://{url.netloc}" if found == queue else found.rstrip("/")


@dataclass(frozen=True)
class Client:
    """A client of one server; its keys are the variables that every AWS tool reads."""

    session: aiohttp.ClientSession
    endpoint: str

    async def __call__(self, action: str, **members: object) -> dict[str, Any]:
        """Ask for one of AWS's actions, and return the members of the answer. Raises Refused."""
        return await self._ask(f"{TARGET_PREFIX}.{action}", members)

    async def extension(self, action: str, **members: object) -> dict[str, Any]:
        """Ask for one of questd's own actions. Raises Refused, also when the server is no questd."""
        try:
            return await self._ask(f"{extensions.TARGET_PREFIX}.{action}", members)
        except Refused as refused:
            if refused.name in {"UnknownOperationException", "InvalidAction"}:
                raise Refused(
                    f"{self.endpoint} cannot do that: {action} is an action of questd's", NOT_QUESTD
                ) from None
            raise

    async def url_of(self, queue: str) -> str:
        """Return the URL of a queue that is given by its name or its URL."""
        if is_url(queue):
            return queue
        try:
            url: str = (await self("GetQueueUrl", QueueName=queue))["QueueUrl"]
        except Refused as refused:
            if refused.name != errors.QueueDoesNotExist.__name__:
                raise
            raise Refused(NO_QUEUE.format(queue, self.endpoint)) from None
        return url

    async def attributes(self, url: str, *names: str) -> dict[str, str]:
        """Return attributes of a queue."""
        reply = await self("GetQueueAttributes", QueueUrl=url, AttributeNames=names)
        found: dict[str, str] = reply.get("Attributes", {})
        return found

    async def urls(self, prefix: str) -> AsyncIterator[str]:
        """Yield the URLs of all queues whose names begin with a prefix, page by page."""
        more: dict[str, Any] = {"QueueNamePrefix": prefix} if prefix else {}
        while True:
            reply = await self("ListQueues", MaxResults=PAGE, **more)
            for url in reply.get("QueueUrls", []):
                yield url
            if "NextToken" not in reply:
                return
            more["NextToken"] = reply["NextToken"]

    async def _ask(self, target: str, members: Mapping[str, Any]) -> dict[str, Any]:
        body = to_json(members)
        headers = signed(self.endpoint, target, body)
        try:
            async with self.session.post(f"{self.endpoint}/", data=body, headers=headers) as response:
                return _members(self.endpoint, response.status, await response.read())
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", error.certificate_error)
            raise Refused(
                f"the certificate of {self.endpoint} is not trusted ({why}): "
                "SSL_CERT_FILE can name a file with the one that is, or with its authority's"
            ) from None
        except aiohttp.ClientSSLError as error:
            why = getattr(error.os_error, "reason", error.os_error)
            raise Refused(f"no TLS at {self.endpoint} ({why}): does it serve http:// only?") from None
        except aiohttp.ClientConnectionError as error:
            number = getattr(error, "errno", None) or 0
            # Those of looking up a name are below 0, and no errors of the system.
            reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
            raise Refused(
                f"no server at {self.endpoint} ({reason}): start one with `questd serve`, or name another one with "
                f"--endpoint or {ENDPOINT}"
            ) from None
        except TimeoutError:
            raise Refused(f"{self.endpoint} did not answer within a minute") from None
        except aiohttp.ClientError as error:
            raise Refused(f"{self.endpoint} does not speak HTTP as it should: {error}") from None


NOT_QUESTD = "NotQuestd"
"""How the error is called that a server is not questd."""


def signed(endpoint: str, target: str, body: bytes) -> dict[str, str]:
    """Return the headers of a request, signed with the key in the variables if there is one."""
    url = urlsplit(endpoint)
    host = url.netloc.rpartition("@")[2]
    headers = {"content-type": CONTENT_TYPE, "host": host, "x-amz-target": target}
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not key_id or not secret:
        return headers
    time = datetime.now(UTC).strftime(signatures.TIME)
    headers["x-amz-date"] = time
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    scope = signatures.Scope(time[:8], region_of(endpoint), signatures.SERVICE)
    signature = signatures.Signature(key_id, scope, time, tuple(sorted(headers)), "", timedelta())
    value = signatures.sign(Request("POST", f"{url.path}/", headers, body), signature, secret)
    headers["authorization"] = (
        f"{signatures.ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={';'.join(signature.headers)}, "
        f"Signature={value}"
    )
    return headers


def _members(endpoint: str, status: int, body: bytes) -> dict[str, Any]:
    """Return the members of an answer. Raises Refused."""
    try:
        found = from_json(body) if body else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused(f"{endpoint} is no SQS server: it answered {status} and no JSON")
    if status == 200:  # noqa: PLR2004  # HTTP's OK
        return found
    name = str(found.get("__type", status)).rpartition("#")[2]
    text = found.get("message") or found.get("Message") or f"{endpoint} answered {status}"
    if status == 403 and not os.environ.get("AWS_ACCESS_KEY_ID"):  # noqa: PLR2004  # HTTP's Forbidden
        text += " (the request was not signed: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
    raise Refused(f"{name}: {text}", name)


@contextlib.asynccontextmanager
async def connected(endpoint: str) -> AsyncIterator[Client]:
    """Give a client of a server; it connects with the first request."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        yield Client(session, endpoint)
