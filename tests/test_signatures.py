"""AWS Signature V4: what botocore signs is known again; whatever is wrong with a signature gets AWS's error (contract 10)."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from questd import errors
from questd.request import Request
from questd.signatures import Scope, Signature, sign, signer

KEY = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SECRETS = dict([KEY])
URL = "http://127.0.0.1:9324"
JSON = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "AmazonSQS.SendMessage",
    "x-amzn-query-mode": "true",
}


def received(signed: AWSRequest) -> Request:
    """Return a signed request as it comes in."""
    url = urlsplit(str(signed.url))
    headers = {name.lower(): str(value) for name, value in signed.headers.items()} | {"host": url.netloc}
    target = url.path + (f"?{url.query}" if url.query else "")
    return Request(str(signed.method), target, headers, signed.data or b"")


def by_header(path: str = "/", body: bytes = b"{}", more: dict[str, str] | None = None) -> Request:
    """Return a request that botocore signed in its header."""
    request = AWSRequest("POST", URL + path, headers=JSON | (more or {}), data=body)
    SigV4Auth(Credentials(*KEY), "sqs", "eu-west-1").add_auth(request)
    return received(request)


def by_query(path: str = "/000000000000/q?Action=ReceiveMessage", seconds: int = 60) -> Request:
    """Return a request that botocore signed in its URL."""
    request = AWSRequest("GET", URL + path)
    SigV4QueryAuth(Credentials(*KEY), "sqs", "eu-west-1", expires=seconds).add_auth(request)
    return received(request)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@pytest.mark.parametrize(
    "make",
    [
        by_header,
        lambda: by_header(body='{"MessageBody":"ж🍕"}'.encode()),
        lambda: by_header(path="/000000000000/q.fifo"),
        lambda: by_header(path="/a%20b/%C3%A9~x"),
        lambda: by_header(more={"X-Spaced": "  a   b  "}),
        lambda: by_header(path="/?Action=SendMessage&MessageBody=a%20b%2Bc%3D&Empty=&A=2&A=1"),
        by_query,
        lambda: by_query("/?Action=SendMessage&MessageBody=%D0%B6%20%26"),
    ],
    ids=range(8),
)
def test_what_botocore_signs(make: Callable[[], Request]) -> None:
    """Both protocols, in the header and in the URL, with odd paths, headers, queries and bodies."""
    assert signer(make(), SECRETS, now()) == KEY[0]


def test_nobody() -> None:
    """A request without a signature, or with another kind of one, is nobody's."""
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "AWS4-HMAC-SHA512 Credential=x"}):
        assert signer(Request("POST", "/", headers, b""), SECRETS, now()) is None
    assert signer(Request("GET", "/?X-Amz-Algorithm=other&X-Amz-Credential=x", {}, b""), SECRETS, now()) is None


def _changed(name: str, old: str, new: str) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        assert old in request.headers[name]
        request.headers = {**request.headers, name: request.headers[name].replace(old, new)}

    return change


def _set(**members: Any) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        for name, value in members.items():
            assert getattr(request, name) != value
            setattr(request, name, value)

    return change


@pytest.mark.parametrize(
    "alter",
    [
        _set(method="GET"),
        _set(target="/other"),
        _set(target="/?Action=PurgeQueue"),
        _set(body=b"{} "),
        _changed("x-amz-target", "SendMessage", "PurgeQueue"),
        _changed("host", "9324", "9325"),
        _changed("authorization", "eu-west-1", "us-east-1"),
        _changed("authorization", "Signature=", "Signature=0"),
        _changed("authorization", "Signature=", "Signature=é\udcff"),
        _changed("authorization", "eu-west-1", "\udcff"),
        _changed("authorization", "SignedHeaders=", "SignedHeaders=\udcff;"),
    ],
    ids=range(11),
)
def test_an_altered_request(alter: Callable[[Request], None]) -> None:
    """Whatever is signed cannot be changed on the way."""
    request = by_header()
    alter(request)
    with pytest.raises(errors.SignatureDoesNotMatch) as caught:
        signer(request, SECRETS, now())
    assert (caught.value.status, caught.value.code) == (403, "SignatureDoesNotMatch")


def test_another_secret() -> None:
    """Who does not know the secret, or signs with an unknown key, is refused."""
    with pytest.raises(errors.SignatureDoesNotMatch):
        signer(by_header(), {KEY[0]: "another secret"}, now())
    with pytest.raises(errors.UnrecognizedClientException) as caught:
        signer(by_header(), {"other": KEY[1]}, now())
    assert (caught.value.status, caught.value.code) == (403, "InvalidClientTokenId")


@pytest.mark.parametrize(
    ("seconds", "minutes", "error"),
    [
        (None, 14.9, None),
        (None, 15.1, errors.SignatureExpired),
        (None, -14.9, None),
        (None, -15.1, errors.SignatureTooEarly),
        (60, 0.9, None),
        (60, 1.1, errors.SignatureExpired),
        (3600, 59, None),
        (3600, -15.1, errors.SignatureTooEarly),
    ],
)
def test_times(seconds: int | None, minutes: float, error: type[errors.SQSError] | None) -> None:
    """A signature is good for a quarter of an hour either way, a presigned URL for as long as it says."""
    request = by_query(seconds=seconds) if seconds else by_header()
    then = now() + timedelta(minutes=minutes)
    if error is None:
        assert signer(request, SECRETS, then) == KEY[0]
        return
    with pytest.raises(
        error, match=r"^Signature (expired|not yet current): \d{8}T\d{6}Z is (now earlier|still later) than"
    ):
        signer(request, SECRETS, then)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("AWS4-HMAC-SHA256 Credential=bogus", "requires 'Signature' parameter"),
        ("AWS4-HMAC-SHA256", "requires 'Credential' parameter"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", "exactly 5 slash-delimited"),
        ("AWS4-HMAC-SHA256 Credential=a/20260101/r/sqs/other, SignedHeaders=host, Signature=0", "exactly 5"),
        ("AWS4-HMAC-SHA256 =, ,,Signature", "requires 'SignedHeaders' parameter"),
    ],
)
def test_incomplete(header: str, text: str) -> None:
    """A header that lacks something is told what."""
    request = by_header()
    request.headers = {**request.headers, "authorization": header}
    with pytest.raises(errors.IncompleteSignature, match=re.escape(text)) as caught:
        signer(request, SECRETS, now())
    assert (caught.value.status, caught.value.code) == (400, "IncompleteSignature")


def test_a_date_of_http() -> None:
    """Without X-Amz-Date the time is that of Date, in the same form (contract 10.1)."""
    request = by_header()
    stamp = request.headers["x-amz-date"]
    _changed("authorization", ";x-amz-date", "")(request)
    request.headers = {name: value for name, value in request.headers.items() if name != "x-amz-date"} | {"date": stamp}
    scope = Scope(stamp[:8], "eu-west-1", "sqs")
    signed = tuple(request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";"))
    right = sign(request, Signature(KEY[0], scope, stamp, signed, "", timedelta()), KEY[1])
    _changed("authorization", request.headers["authorization"][-64:], right)(request)
    assert signer(request, SECRETS, now()) == KEY[0]
    request.headers = {**request.headers, "date": "Thu, 26 Nov 2026 12:00:00 GMT"}
    with pytest.raises(errors.InvalidScope, match="Date in Credential scope"):
        signer(request, SECRETS, now())


def test_no_date() -> None:
    """Neither a header without a date, nor a date that is none, nor a URL without its end is a signature."""
    request = by_header()
    request.headers = {name: value for name, value in request.headers.items() if name != "x-amz-date"}
    with pytest.raises(errors.IncompleteSignature, match="X-Amz-Date"):
        signer(request, SECRETS, now())
    request = by_header()
    day = request.headers["x-amz-date"][:8]
    request.headers = {**request.headers, "x-amz-date": f"{day}!"}
    with pytest.raises(errors.IncompleteSignature, match="ISO-8601"):
        signer(request, SECRETS, now())
    for seconds in ("0", "604801", "x", ""):
        request = by_query()
        request.target = re.sub("X-Amz-Expires=60", f"X-Amz-Expires={seconds}", request.target)
        with pytest.raises(errors.IncompleteSignature, match="X-Amz-Expires"):
            signer(request, SECRETS, now())


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("/sqs/", "/s3/", "correct service: 'sqs'"),
        ("Credential=AKIDEXAMPLE/20", "Credential=AKIDEXAMPLE/19", "Date in Credential scope"),
        (";host;", ";", "'Host' must be"),
    ],
)
def test_scope(old: str, new: str, text: str) -> None:
    """A signature for another service or day, or one that is good on every host, is not good here."""
    request = by_header()
    _changed("authorization", old, new)(request)
    with pytest.raises(errors.InvalidScope, match=re.escape(text)):
        signer(request, SECRETS, now())


def _form() -> Request:
    request = AWSRequest("POST", f"{URL}/000000000000/q?Action=ReceiveMessage")
    SigV4Auth(Credentials(*KEY), "sqs", "eu-west-1").add_auth(request)
    return received(request)


@pytest.mark.parametrize("make", [_form, by_query])
def test_an_action_that_is_not_signed(make: Callable[[], Request]) -> None:
    """A signed request is not made one for another action by a header that says it and is not signed; others do no harm."""
    request = make()
    request.headers = {**request.headers, "x-amz-user-agent": "any"}
    assert signer(request, SECRETS, now()) == KEY[0]
    request.headers = {**request.headers, "x-amz-target": "AmazonSQS.PurgeQueue"}
    with pytest.raises(errors.InvalidScope, match="'X-Amz-Target' must be a 'SignedHeader'") as caught:
        signer(request, SECRETS, now())
    assert (caught.value.status, caught.value.code) == (403, "SignatureDoesNotMatch")


def test_a_plus_is_a_space() -> None:
    """`+` in a query string is signed as what an action reads there: a space, and not the plus of `%2B`."""
    request = by_query("/?Action=SendMessage&MessageBody=1%2B1")
    request.target = request.target.replace("%2B", "+")
    with pytest.raises(errors.SignatureDoesNotMatch):
        signer(request, SECRETS, now())
    request = by_query("/?Action=SendMessage&MessageBody=1%201")
    request.target = request.target.replace("%20", "+")
    assert signer(request, SECRETS, now()) == KEY[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Signature=", "Signature=é"),
        ("Signature=", "Signature=\udcff"),
        ("SignedHeaders=", "SignedHeaders=\udcff;é;"),
        ("eu-west-1", "\udcff"),
    ],
)
def test_a_signature_that_is_no_ascii(old: str, new: str) -> None:
    """A header may hold any bytes: a signature of them is a wrong one, and no failure of the server."""
    request = by_header()
    _changed("authorization", old, new)(request)
    with pytest.raises(errors.SignatureDoesNotMatch):
        signer(request, SECRETS, now())


@pytest.mark.parametrize(("year", "error"), [("9999", errors.SignatureTooEarly), ("0001", errors.SignatureExpired)])
def test_the_ends_of_time(year: str, error: type[errors.SQSError]) -> None:
    """A date after or before which there is none is too late or too early like any other."""
    request = by_header()
    day = request.headers["x-amz-date"][:8]
    end = f"{year}1231" if year == "9999" else f"{year}0101"
    headers = {name: value.replace(day, end) for name, value in request.headers.items()}
    request.headers = headers | {"x-amz-date": f"{end}T{'235959' if year == '9999' else '000000'}Z"}
    with pytest.raises(error):
        signer(request, SECRETS, now())
