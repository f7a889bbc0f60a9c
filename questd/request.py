"""A request: what a front hands in, and what becomes known of it on its way. It knows no action and no protocol."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from questd.namespaces import NOWHERE, Namespace

PATH_SLASHES = 4
"""/queue/region/account/name: LocalStack's form of a queue's URL that says its region."""

HOST = re.compile(r"[A-Za-z0-9_.:\[\]-]+")
"""A host with or without a port, as it may stand in a URL."""

ABSOLUTE = re.compile(r"https?://[^/?]*(.*)", re.IGNORECASE | re.DOTALL)
"""A target that is a whole URL, and what follows its host."""

PEEK = "/_aws/sqs/messages"
"""The path at which a ReceiveMessage only looks (localstack.py); region, account and name of a queue may follow."""


@dataclass(slots=True)
class Request:
    """An HTTP request as either front hands it in."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Their names in lower case."""
    body: bytes
    peer: str = ""
    principal: str = field(default="", init=False)
    """Who asks: set by one step; '' is anybody."""
    action: str = field(default="", init=False)
    """The name of the action it turned out to ask for; '' before that."""
    asked: object = field(default=None, init=False)
    """The action, once it is known to be a right one."""
    waited_ns: int = field(default=0, init=False)
    """How long it has waited for messages: no time that its answer took."""
    namespace: Namespace = NOWHERE
    """Where its queues are: set by one step."""
    undo: Callable[[], None] | None = field(default=None, init=False)
    """Set by an action that must be undone when its answer cannot be written."""

    def take_origin_form(self) -> None:
        """Reduce a target that is a whole URL (RFC 9112, 3.2.2) to its path and query.

        Its host counts for nothing: clients sign the Host header, and URLs in answers follow that one.
        """
        found = ABSOLUTE.fullmatch(self.target)
        if found:
            self.target = found[1] if found[1].startswith("/") else f"/{found[1]}"

    @property
    def queue(self) -> str:
        """The queue that the path names, `/<account>/<queue>`; '' for any other path."""
        path = self.target.partition("?")[0]
        if self.peeks:
            path = path.replace(PEEK, "/queue", 1)
            return path if path.count("/") == PATH_SLASHES else ""
        parts = path.strip("/").split("/")
        return "/".join(parts) if len(parts) > 1 else ""

    @property
    def peeks(self) -> bool:
        """Whether it is to look at messages only."""
        return self.target.startswith(PEEK)

    @property
    def sender(self) -> str:
        """Whom a message that it sends is from; '' for the server's own account, which need not be stored."""
        _, account, home = self.namespace
        return self.principal or (account if home and account != home[1] else "")

    @property
    def host(self) -> str:
        """Where the client sees this server; '' when it does not say."""
        host = self.headers.get("host", "")
        return host if HOST.fullmatch(host) else ""
