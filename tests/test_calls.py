"""A call that waits for its reply: who hears of it, once and whatever he does."""

import asyncio
from typing import Any

import pytest

from questd.calls import Call, Waiting, awaited, tell


def made() -> tuple[Call, asyncio.Future[Any], list[Any]]:
    """Return a call, what its caller waits for, and the replies that `abandoned` gets."""
    future, abandoned = asyncio.get_running_loop().create_future(), list[Any]()
    return Call(Waiting(future, abandoned.append), b"", repeat=False), future, abandoned


async def test_a_reply_goes_to_the_caller_or_back() -> None:
    """The caller gets the reply; one that he is not there for is abandoned."""
    call, future, abandoned = made()
    call.answer(1)
    assert (await future, abandoned) == (1, [])
    call, future, abandoned = made()
    future.cancel()
    call.answer(1)
    assert abandoned == [1]


async def test_a_reply_that_is_taken_back() -> None:
    """The caller hears of an error and the reply is abandoned, whether he is there or not."""
    call, future, abandoned = made()
    call.take_back(1, ValueError("lost"))
    with pytest.raises(ValueError, match="lost"):
        await future
    assert abandoned == [1]
    call, future, abandoned = made()
    future.cancel()
    call.take_back(1, ValueError("lost"))
    assert abandoned == [1]


async def test_a_caller_who_goes_as_his_reply_comes() -> None:
    """Cancelled in the tick in which the reply came, a caller does not see it: it is abandoned. One that failed is not."""
    for outcome in (1, ValueError("lost")):
        call, future, abandoned = made()
        task = asyncio.create_task(awaited(future, abandoned.append))
        await asyncio.sleep(0)  # it waits
        call.answer(outcome) if outcome == 1 else call.fail(ValueError("lost"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert abandoned == ([1] if outcome == 1 else [])


def test_a_mistake_of_a_listener_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is told may fail: that is logged and goes no further."""
    tell(lambda news: 1 // news, 0)
    assert "failed" in caplog.text
