"""Sessions: cookies, tokens of forms, and how many logins may fail."""

import time

import pytest

from questd import sessions
from questd.access import Access, Key
from questd.sessions import FAILURES, Sessions, TooManyFailures

SECRET = "a secret of some length"


def opened(secret: str = SECRET) -> Sessions:
    """Return the sessions of a console with one access key."""
    return Sessions(Access({"KEY.1": Key(secret=secret)}, "000000000000"))


def cookie_of(opened: Sessions) -> str:
    """Log in."""
    cookie = opened.login("::1", "KEY.1", SECRET)
    assert cookie
    return cookie


def test_a_cookie_says_whose_it_is() -> None:
    """A cookie is good in every process that has the key, and nowhere else; it does not show the secret."""
    cookie = cookie_of(opened())
    assert opened().holder(cookie) == "KEY.1"
    assert opened("another secret").holder(cookie) is None
    assert Sessions(None).holder(cookie) is None
    assert Sessions(Access({}, "000000000000")).holder(cookie) is None
    assert SECRET not in cookie


def test_an_altered_cookie_is_none() -> None:
    """Whoever changes a cookie, its name or its end, has none."""
    cookie = cookie_of(opened())
    name, until, seal = cookie.split(".")
    altered = [f"{name}.{int(until) + 1}.{seal}", f"{name}A.{until}.{seal}", f"{name}.{until}.", f"{name}.{until}.é"]
    for each in [*altered, "", ".", "..", "a.b.c", cookie[:-1]]:
        assert opened().holder(each) is None


def test_a_cookie_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cookie is no longer good when its time is over."""
    monkeypatch.setattr(sessions, "LASTS_SECONDS", -1)
    assert opened().holder(cookie_of(opened())) is None
    monkeypatch.setattr(sessions, "LASTS_SECONDS", 2)
    assert opened().holder(cookie_of(opened())) == "KEY.1"


def test_wrong_logins() -> None:
    """Nobody comes in with a wrong secret, an unknown key, or where there are no keys."""
    for name, secret in (("KEY.1", "wrong"), ("KEY.1", ""), ("OTHER", SECRET), ("", ""), ("OTHER", "")):
        assert opened().login("::1", name, secret) is None
    assert Sessions(None).login("::1", "", "") is None


def test_too_many_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many failures an address is not heard for a while, even with the right secret; others are."""
    here = opened()
    for _ in range(FAILURES):
        assert here.login("10.0.0.1", "KEY.1", "wrong") is None
    with pytest.raises(TooManyFailures):
        here.login("10.0.0.1", "KEY.1", SECRET)
    assert here.login("10.0.0.2", "KEY.1", SECRET)
    later = time.monotonic() + sessions.FAILURES_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert here.login("10.0.0.1", "KEY.1", SECRET)


def test_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers with many addresses do not fill the memory."""
    monkeypatch.setattr(sessions, "ADDRESSES", 3)
    here = opened()
    for number in range(10):
        here.login(f"10.0.0.{number}", "KEY.1", "wrong")
    assert len(here._failures) <= 3


def test_tokens() -> None:
    """A form's token is that of its session and of its process."""
    here = opened()
    token = here.token("a cookie")
    assert here.is_token("a cookie", token)
    assert not here.is_token("another", token)
    assert not opened().is_token("a cookie", token)
    assert not here.is_token("a cookie", "")
    assert not here.is_token("a cookie", "\ud800é")
