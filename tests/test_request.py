"""What a request says of itself, whatever it asks for."""

import pytest

from questd.namespaces import Namespace
from questd.request import Request

HOME = ("us-east-1", "000000000000")


def at(target: str, **headers: str) -> Request:
    """Return a request for a target."""
    return Request("POST", target, headers, b"")


@pytest.mark.parametrize(
    ("target", "queue"),
    [
        ("/", ""),
        ("/q", ""),
        ("/000000000000/q", "000000000000/q"),
        ("/000000000000/q/?Action=x", "000000000000/q"),
        ("/_aws/sqs/messages", ""),
        ("/_aws/sqs/messages/us-east-1/000000000000/q", "/queue/us-east-1/000000000000/q"),
        ("/_aws/sqs/messages/q", ""),
    ],
)
def test_the_queue_of_a_path(target: str, queue: str) -> None:
    """An account and a name are a queue; LocalStack's path of messages needs its region too."""
    assert at(target).queue == queue


@pytest.mark.parametrize(
    ("target", "reduced"),
    [
        ("/?a=http://y/", "/?a=http://y/"),
        ("http://y:8/000000000000/q?a", "/000000000000/q?a"),
        ("HTTPS://y", "/"),
        ("http://y?a=b", "/?a=b"),
        ("*", "*"),
    ],
)
def test_a_whole_url(target: str, reduced: str) -> None:
    """A target that says its host counts as the path; the host is that of the header."""
    request = at(target, host="x")
    request.take_origin_form()
    assert (request.target, request.host) == (reduced, "x")


@pytest.mark.parametrize(("host", "shown"), [("x:9324", "x:9324"), ("[::1]:1", "[::1]:1"), ("a/b", ""), ("x\r\ny", "")])
def test_the_host_that_a_client_sees(host: str, shown: str) -> None:
    """A host that could not stand in a URL is none."""
    assert at("/", host=host).host == shown
    assert at("/").host == ""


@pytest.mark.parametrize(
    ("namespace", "principal", "sender"),
    [
        (Namespace(*HOME), "", ""),
        (Namespace(*HOME, HOME), "", ""),
        (Namespace("us-east-1", "111122223333", HOME), "", "111122223333"),
        (Namespace(*HOME), "KEY", "KEY"),
    ],
)
def test_whom_messages_are_from(namespace: Namespace, principal: str, sender: str) -> None:
    """From the key, else from the account, which goes without saying when it is the server's own."""
    request = Request("POST", "/", {}, b"", namespace=namespace)
    request.principal = principal
    assert request.sender == sender
