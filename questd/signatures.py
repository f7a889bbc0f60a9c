"""AWS Signature V4: who has signed a request, in its Authorization header or in its query string (contract 10).

It knows HTTP, hashes and the secrets of access keys; what somebody may do is not decided here.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_plus

from questd import errors
from questd.request import Request

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "sqs"
TERMINATOR = "aws4_request"

SKEW = timedelta(minutes=15)
"""How far the clock of a client may be away from this server's."""

LONGEST = timedelta(days=7)
"""How long a presigned URL may be good."""

UNRESERVED = "-_.~"
"""What is not percent-encoded, beside letters and digits."""

TIME = "%Y%m%dT%H%M%SZ"

PARAMETERS = ("Credential", "SignedHeaders", "Signature")

TO_SIGN = {"host": "Host", "x-amz-target": "X-Amz-Target"}
"""Headers that must be signed: whoever could change them would have another server do it, or another thing done."""


class Scope(NamedTuple):
    """What a signature is good for."""

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        """Return it as it is signed."""
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


@dataclass(frozen=True)
class Signature:
    """A signature as it came with a request."""

    key_id: str
    scope: Scope
    time: str
    headers: tuple[str, ...]
    """Names of the headers that are signed."""
    value: str
    lasts: timedelta
    """How long it is good from its time on."""


def signer(request: Request, secrets: Mapping[str, str], now: datetime) -> str | None:
    """Return the id of the access key that signed a request, None when nobody did.

    `secrets` has the secret of each id. Raises what AWS answers to a signature that is none or is not good now.
    """
    signature = _of_header(request) or _of_query(request)
    if signature is None:
        return None
    secret = secrets.get(signature.key_id)
    if secret is None:
        raise errors.UnrecognizedClientException
    _check_scope(signature)
    _check_headers(signature, request)
    _check_time(signature, now)
    if not hmac.compare_digest(_bytes(signature.value), _bytes(sign(request, signature, secret))):
        raise errors.SignatureDoesNotMatch
    return signature.key_id


def _of_header(request: Request) -> Signature | None:
    header = request.headers.get("authorization", "")
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        return None
    given = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    time = request.headers.get("x-amz-date") or request.headers.get("date", "")
    lacking = [f"Authorization header requires '{name}' parameter." for name in PARAMETERS if not given.get(name)]
    if not time:
        lacking.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if lacking:
        raise errors.IncompleteSignature(" ".join(lacking))
    return _signature(given, time, SKEW)


def _of_query(request: Request) -> Signature | None:
    given = {name.removeprefix("X-Amz-"): value for name, value in _query(request) if name.startswith("X-Amz-")}
    if given.get("Algorithm") != ALGORITHM:
        return None
    lacking = [name for name in (*PARAMETERS, "Date", "Expires") if not given.get(name)]
    if lacking:
        raise errors.IncompleteSignature(
            " ".join(f"AWS query-string parameters must include 'X-Amz-{name}'." for name in lacking)
        )
    seconds = int(given["Expires"]) if re.fullmatch("[0-9]{1,6}", given["Expires"]) else 0
    if not 1 <= seconds <= LONGEST.total_seconds():
        raise errors.IncompleteSignature("X-Amz-Expires must be a number of seconds from 1 to 604800.")
    return _signature(given, given["Date"], timedelta(seconds=seconds))


def _signature(given: Mapping[str, str], time: str, lasts: timedelta) -> Signature:
    key_id, *scope = given["Credential"].split("/")
    if len(scope) != len(Scope._fields) + 1 or scope[-1] != TERMINATOR:
        raise errors.IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
        )
    headers = tuple(given["SignedHeaders"].split(";"))
    return Signature(key_id, Scope(*scope[:-1]), time, headers, given["Signature"], lasts)


def _check_scope(signature: Signature) -> None:
    if signature.scope.service != SERVICE:
        raise errors.InvalidScope(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if not signature.time.startswith(signature.scope.date) or len(signature.scope.date) != len("yyyymmdd"):
        raise errors.InvalidScope("Date in Credential scope does not match the date of the request.")


def _check_headers(signature: Signature, request: Request) -> None:
    for name, shown in TO_SIGN.items():
        if name not in signature.headers and (name in request.headers or name == "host"):
            raise errors.InvalidScope(f"'{shown}' must be a 'SignedHeader' in the AWS Authorization.")


def _check_time(signature: Signature, now: datetime) -> None:
    try:
        begins = datetime.strptime(signature.time, TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise errors.IncompleteSignature("Date must be in ISO-8601 'basic format'.") from error
    if now - begins > signature.lasts:
        patience = f"{signature.lasts.total_seconds() / 60:g} min"
        raise errors.SignatureExpired(
            signature.time, (now - signature.lasts).strftime(TIME), now.strftime(TIME), patience
        )
    if begins - now > SKEW:
        raise errors.SignatureTooEarly(signature.time, (now + SKEW).strftime(TIME), now.strftime(TIME))


def sign(request: Request, signature: Signature, secret: str) -> str:
    """Return the signature that a request would have with this secret, 64 hexadecimal digits."""
    canonical = "\n".join(
        [
            request.method,
            quote(request.target.partition("?")[0] or "/", safe=f"/{UNRESERVED}"),
            _canonical_query(request),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signature.headers),
            "",
            ";".join(signature.headers),
            hashlib.sha256(request.body).hexdigest(),
        ]
    )
    digest = hashlib.sha256(_bytes(canonical)).hexdigest()
    text = f"{ALGORITHM}\n{signature.time}\n{signature.scope}\n{digest}"
    return hmac.new(_signing_key(secret, signature.scope), _bytes(text), hashlib.sha256).hexdigest()


@lru_cache(1024)
def _signing_key(secret: str, scope: Scope) -> bytes:
    """Return the key for a day, a region and a service: four digests that need not be made for every request."""
    key = _bytes(f"AWS4{secret}")
    for part in (*scope, TERMINATOR):
        key = hmac.new(key, _bytes(part), hashlib.sha256).digest()
    return key


def _bytes(text: str) -> bytes:
    """Return what a text was before it was decoded: a header may hold any bytes."""
    return text.encode(errors="surrogateescape")


def _query(request: Request) -> list[tuple[str, str]]:
    """Return the query string's names and values as actions read them, so that what is signed is what is meant."""
    pairs = [part.partition("=")[::2] for part in request.target.partition("?")[2].split("&") if part]
    return [(unquote_plus(name), unquote_plus(value)) for name, value in pairs]


def _canonical_query(request: Request) -> str:
    pairs = [
        (quote(name, safe=UNRESERVED), quote(value, safe=UNRESERVED))
        for name, value in _query(request)
        if name != "X-Amz-Signature"
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))
