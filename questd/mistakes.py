"""What is wrong with a request, from what pydantic finds, in AWS's words; and which of several is answered (1.2.5)."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from questd import errors

TELLABLE = 1000
"""Mistakes of a request that are looked at one by one: to look at a million would take a process half a minute."""


ABSENT = {"missing", "string_too_short", "bytes_too_short"}
"""What must be given may not be empty."""


def mistake(error: ValidationError) -> errors.SQSError:
    """Return the error that AWS gives for what pydantic found wrong: of several mistakes, the first to be met."""
    if error.error_count() > TELLABLE:
        return errors.SerializationException()
    return min(map(_meaning, error.errors(include_url=False)), key=_precedence)


def _meaning(detail: ErrorDetails) -> errors.SQSError:
    """Return the error that AWS gives for one thing that pydantic found wrong."""
    location, value, kind = detail["loc"], detail["input"], detail["type"]
    ours = detail.get("ctx", {}).get("error")
    if isinstance(ours, errors.SQSError):
        return ours
    nested_null = value is None and kind != "missing" and len(location) > 1
    if kind == "json_invalid" or not location or nested_null:
        return errors.SerializationException()
    if kind in ABSENT or value is None:
        return missing(str(location[-1]))
    return _wrong_type(kind, value)


PRECEDENCE = (errors.SerializationException, errors.QueueDoesNotExist, errors.MissingRequiredParameterException)
"""A request is read, then it must name a queue, then have what it needs, and only then is what it says looked at."""


def _precedence(error: errors.SQSError) -> int:
    return next((place for place, kind in enumerate(PRECEDENCE) if isinstance(error, kind)), len(PRECEDENCE))


def missing(name: str) -> errors.SQSError:
    """Return the error for a member that must be given."""
    return errors.QueueDoesNotExist() if name == "QueueUrl" else errors.MissingParameter(name)


_JAVA = {"string": "a String", "int": "an Integer", "finite": "an Integer", "bool": "a Boolean"}
"""What Coral, AWS's service framework, calls the types that pydantic's error types begin with."""


def _wrong_type(kind: str, value: object) -> errors.SQSError:
    if isinstance(value, dict):
        return errors.UnexpectedStructure()
    if isinstance(value, list):
        return errors.UnexpectedList()
    if kind.startswith(("list", "dict", "model")):
        return errors.UnrecognizedCollection()
    name = {bool: f"{value}".upper(), str: "STRING", int: "NUMBER", float: "NUMBER"}.get(type(value), "STRING")
    return errors.UnconvertibleValue(f"{name}_VALUE", _JAVA.get(kind.partition("_")[0], "a String"))
