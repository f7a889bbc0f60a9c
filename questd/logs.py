"""How log lines look: text for people or JSON for programs, and the access log, a line for each request for an action.

It must not know what is logged; who logs must not name a body or a secret.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from questd.settings import Settings

ACCESS = logging.getLogger("questd.access")
"""The access log: its lines are wanted or not whatever their level."""


def configure(settings: Settings) -> None:
    """Write log lines to standard error from now on, as the settings say."""
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(_Json() if settings.log_format == "json" else _Text("questd: %(levelname)s: %(message)s"))
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
