"""Sessions of people at the console: who has logged in with an access key, and the tokens that their forms carry.

It knows cookies' values and time; it must not know HTTP nor pages, and it never has a key's secret.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque

from questd.action import Gate

LASTS_SECONDS = 12 * 3600
"""How long a login is good."""

FAILURES, FAILURES_SECONDS = 10, 60.0
"""So many logins of one address may fail within this time; any more are not looked at."""

ADDRESSES = 10_000
"""Addresses whose failures are remembered; more are forgotten together."""


class TooManyFailures(Exception):
    """Too many logins from this address have failed."""


class Sessions:
    """The sessions of one process. Nothing is stored of them: a cookie says whose it is, sealed with his key."""

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._secret = secrets.token_bytes(32)
        self._failures: dict[str, deque[float]] = {}

    def login(self, address: str, name: str, secret: str) -> str | None:
        """Return the cookie of somebody with this key, None when it is not right. Raises TooManyFailures."""
        now = time.monotonic()
        failures = self._failures.get(address, deque(maxlen=FAILURES))
        if len(failures) == FAILURES and now - failures[0] < FAILURES_SECONDS:
            raise TooManyFailures
        if self._gate and self._gate.knows(name, secret):
            self._failures.pop(address, None)
            return self._cookie(name, round(time.time()) + LASTS_SECONDS)
        if len(self._failures) >= ADDRESSES:
            self._failures.clear()
        failures.append(now)
        self._failures[address] = failures
        return None

    def _cookie(self, name: str, until: int) -> str:
        text = f"{urlsafe_b64encode(name.encode()).decode()}.{until}"
        return f"{text}.{self._seal(name, text)}"

    def _seal(self, name: str, text: str) -> str:
        return self._gate.seal(name, f"console session {text}") if self._gate else ""

    def holder(self, cookie: str) -> str | None:
        """Return the id of the key that a cookie was given for; None when it is not good, or no longer."""
        text, _, seal = cookie.rpartition(".")
        encoded, _, until = text.partition(".")
        try:
            name = urlsafe_b64decode(encoded).decode()
            lasts = int(until) > time.time()
        except ValueError:
            return None
        wanted = self._seal(name, text)
        return name if wanted and lasts and hmac.compare_digest(wanted.encode(), seal.encode()) else None

    def token(self, cookie: str) -> str:
        """Return what the forms of a session carry: other sites cannot read it, so they cannot post here."""
        return hmac.new(self._secret, cookie.encode(), hashlib.sha256).hexdigest()

    def is_token(self, cookie: str, given: str) -> bool:
        """Tell whether a form carries the token of its session."""
        return hmac.compare_digest(self.token(cookie).encode(), given.encode(errors="replace"))
