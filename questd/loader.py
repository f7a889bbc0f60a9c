"""The process that puts library and declared queues into Redis before the workers start; what is told when it cannot.

It owns the words; what can go wrong is known to those who raise it.
"""

import asyncio
import logging
import os
from typing import NoReturn

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)

from questd import declared, grants, library, promises, scheme
from questd.durability import CannotPromise
from questd.pipeline import RedisUnavailable
from questd.settings import BadSetting, Settings, hidden

UNFIT = (library.LibraryRefused, grants.GrantsMissing, CannotPromise, scheme.WrongScheme)
"""Why a Redis that is there cannot be used; their texts say what to do."""

REFUSALS = (*UNFIT, RedisUnavailable, RedisError)
"""What a Redis raises that cannot be used, or is not there."""

ANSWERS = (ResponseError, AuthenticationError, AuthorizationError, BusyLoadingError)
"""What comes of a Redis that is there, and says no."""

log = logging.getLogger(__name__)


def run(settings: Settings, report: int, *, private: bool) -> None:
    """Load the library; end with status 1, and say on `report` why, when that cannot be.

    Of a Redis that is not questd's own, `private`, doubts are told.
    """
    url = str(settings.redis_url)
    try:
        doubts = asyncio.run(scheme.checked(_load(settings, url, private=private), url))
    except REFUSALS as error:
        _refuse(report, explained(error, url))
    for doubt in doubts:
        log.warning("%s", doubt)


async def _load(settings: Settings, url: str, *, private: bool) -> list[str]:
    doubts = [] if private else await promises.doubts(url, promises.durability(settings))
    await grants.load(url, test_mode=settings.test_mode)
    return doubts


def declare(settings: Settings, report: int) -> None:
    """Make the queues that are declared; end as `run` does when one cannot be."""
    try:
        asyncio.run(declared.make(settings))
    except BadSetting as error:
        _refuse(report, str(error))
    except REFUSALS as error:
        _refuse(report, explained(error, str(settings.redis_url)))


def _refuse(report: int, text: str) -> NoReturn:
    os.write(report, text.encode())
    os._exit(1)


def explained(error: Exception, url: str) -> str:
    """Return what to tell a user whose Redis at `url` raised one of REFUSALS."""
    if isinstance(error, UNFIT):
        return hidden(f"{url}: {error}")
    for answer in error, error.__cause__:  # a pipeline says nothing but that it has no connection
        if isinstance(answer, ANSWERS):
            return hidden(f"{url}: Redis answered: {answer}")
    return hidden(f"no Redis at {url}: {str(error).removeprefix('Redis cannot be reached: ')}")
