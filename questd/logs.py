"""How log lines look: text for people or JSON for programs, and the access log, a line for each request for an action.

Of warnings that repeat themselves it shows some and counts the rest. It must not know what is logged; who logs must not
name a body or a secret.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from questd.settings import Settings

ACCESS = logging.getLogger("questd.access")
"""The access log: its lines are wanted or not whatever their level."""


REPEATED, REPEATED_SECONDS = 10, 10.0
"""So many warnings and errors of a kind are shown in so many seconds: in an outage every request has one to say."""


def configure(settings: Settings) -> None:
    """Write log lines to standard error from now on, as the settings say."""
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(_Json() if settings.log_format == "json" else _Text("questd: %(levelname)s: %(message)s"))
    output.addFilter(_Sparing())
    root = logging.getLogger()
    root.handlers = [output]
    root.setLevel(settings.log_level.upper())
    ACCESS.setLevel(logging.INFO)


def access(fields: Mapping[str, str | float]) -> None:
    """Log a request: names without blanks, and values."""
    ACCESS.info("request", extra={"fields": fields})


def about(request_id: str) -> dict[str, str]:
    """Return the `extra` of a line that is about a request."""
    return {"request_id": request_id}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Sparing(logging.Filter):
    """Lets some lines of a kind, all that one place in the code says, through; the next of them says how many more."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[object, list[float]] = {}  # what is said → since when this period is, how many lines it has

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        period = self._kinds.setdefault((record.pathname, record.lineno), [record.created, 0])
        if record.created - period[0] >= REPEATED_SECONDS:
            unsaid = round(period[1]) - REPEATED
            period[:] = record.created, 0
            if unsaid > 0:
                record.msg = f"{record.msg} (and {unsaid} more like it before)"
        period[1] += 1
        return period[1] <= REPEATED


class _Text(logging.Formatter):
    """`questd: LEVEL: message`; a request as `questd: TIME name=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        if fields is None:
            return super().format(record)
        # A value with a blank or a line end in it could pass for another field, or another line.
        shown = (f"{name}={''.join(str(value).split()) or '-'}" for name, value in fields.items())
        return f"questd: {_time(record)} {' '.join(shown)}"


class _Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message; request_id and error where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        shown = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        shown["message"] = record.getMessage()
        shown |= getattr(record, "fields", {})
        if request_id := getattr(record, "request_id", ""):
            shown["request_id"] = request_id
        if record.exc_info:
            shown["error"] = self.formatException(record.exc_info)
        return json.dumps(shown, ensure_ascii=False)
