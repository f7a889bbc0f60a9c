"""File descriptors: how many this system lets a process have, and how many connections fit into them."""

import contextlib
import logging
import resource

from questd.settings import Settings

SPARE = 384
"""Descriptors for all else: connections that are refused, those to Redis, the event loop's, files."""

log = logging.getLogger(__name__)


def fitted(settings: Settings) -> Settings:
    """Return the settings with as many connections as fit, and say so when they are fewer."""
    fitting = room_for(settings.max_connections)
    if fitting < settings.max_connections:
        log.warning(
            "each worker serves %d connections instead of %d: this system lets a process have %d open files "
            "(raise it with ulimit -Hn or LimitNOFILE=, or lower --max-connections)",
            *(fitting, settings.max_connections, _soft()),
        )
    return settings.model_copy(update={"max_connections": fitting})


def room_for(connections: int) -> int:
    """Raise the soft limit as far as so many connections need; return how many of them fit."""
    wanted = connections + SPARE
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _soft() < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has another limit above it, and does not say which
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
    soft = _soft()
    return min(connections, max(soft - SPARE, soft // 2))


def _soft() -> int:
    """Return the limit that counts; none is as good as a very high one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft
