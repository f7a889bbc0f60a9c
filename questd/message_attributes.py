"""Message attributes: what they may be, their digest and size; and the characters of a body (contract 4.2 to 4.5).

Users' attributes and the one system attribute follow the same rules, with another word in the texts.
"""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_core import from_json, to_json

from questd import errors

COUNT_LIMIT = 10
LENGTH_LIMIT = 256

FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What a text may not contain: all that XML 1.0 has no character for."""

_CONTROLS = bytes([*range(9), 11, 12, *range(14, 32)])
OTHER_CONTROLS = bytes.maketrans(_CONTROLS, b"?" * len(_CONTROLS))
NONCHARACTERS = ("\ufffe".encode(), "\uffff".encode())
"""The same in UTF-8, where it is found in an eighth of the time: 28 µs for 64 KiB. Taking them out takes 36."""

NAME = re.compile(r"[\w.-]+")
"""AWS takes letters of any alphabet (contract 4.3)."""

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""Digits can be read in one way only: two would take minutes for a megabyte of them."""

TRANSPORT = {"String": b"\x01", "Number": b"\x01", "Binary": b"\x02"}
"""Supported types, and the byte that stands for how their value travels in the digest."""


def _decoded(value: object) -> object:
    """Return the bytes of a base64 text."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise errors.SerializationException from error


class MessageAttributeValue(BaseModel):
    """A typed value: a text, or bytes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    DataType: str | None = None
    StringValue: str | None = None
    BinaryValue: Annotated[bytes, BeforeValidator(_decoded)] | None = None
    StringListValues: list[Any] | None = None
    BinaryListValues: list[Any] | None = None

    def raw(self) -> bytes:
        """Return the bytes of the value."""
        return self.BinaryValue if self.BinaryValue is not None else (self.StringValue or "").encode()


Values = dict[str, MessageAttributeValue]


def is_text(utf8: bytes) -> bool:
    """Say whether what is UTF-8 has only characters that AWS takes."""
    if utf8.translate(OTHER_CONTROLS) != utf8:  # where nothing is another, it is the same object
        return False
    return utf8.isascii() or not any(each in utf8 for each in NONCHARACTERS)


def _check_name(kind: str, name: str) -> None:
    if not name:
        raise errors.EmptyAttributeName(kind)
    if len(name) > LENGTH_LIMIT:
        raise errors.AttributeNameTooLong(kind)
    if not NAME.fullmatch(name):
        raise errors.InvalidAttributeCharacters(kind)
    if name.startswith("."):
        raise errors.AttributeNameBeginsWithDot(kind)
    if name.endswith("."):
        raise errors.AttributeNameEndsWithDot(kind)
    if ".." in name:
        raise errors.AttributeNameWithSuccessiveDots(kind)
    if name.lower().startswith(("aws.", "amazon.")):
        raise errors.ReservedAttributeName


def _check_type(kind: str, name: str, value: MessageAttributeValue) -> str:
    """Return the type without its label."""
    if not value.DataType:
        raise errors.NoAttributeType(kind, name)
    if len(value.DataType) > LENGTH_LIMIT:
        raise errors.AttributeTypeTooLong(kind)
    prefix, _, label = value.DataType.partition(".")
    if prefix not in TRANSPORT:
        raise errors.InvalidAttributeType(kind, name)
    _check_characters(name, label)
    return prefix


def _check_value(kind: str, name: str, value: MessageAttributeValue) -> None:
    if value.StringListValues or value.BinaryListValues:
        raise errors.ListValuesNotSupported
    prefix = _check_type(kind, name, value)
    if value.StringValue is None and value.BinaryValue is None:
        raise errors.NoAttributeValue(kind, name)
    if value.StringValue is not None and value.BinaryValue is not None:
        raise errors.TwoAttributeValues(kind, name)
    field = "Binary" if prefix == "Binary" else "String"
    if (value.BinaryValue is None) == (field == "Binary"):
        raise errors.WrongAttributeField(kind, name, prefix, field)
    if not value.raw():
        raise errors.EmptyAttributeValue(kind, name, prefix)
    if value.StringValue is not None:
        _check_text(kind, name, prefix, value.StringValue)


def _check_characters(name: str, text: str) -> None:
    """Refuse what XML cannot show: a receiver of other characters would find the digest wrong."""
    if FORBIDDEN.search(text):
        raise errors.InvalidParameter(text, name, errors.InvalidMessageContents().message)


def _check_text(kind: str, name: str, prefix: str, text: str) -> None:
    _check_characters(name, text)
    if prefix == "Number" and not NUMBER.fullmatch(text):
        raise errors.AttributeNotANumber(kind, name)


def _few(values: object) -> object:
    """Refuse too many before each is looked at: a client may send half a million."""
    if isinstance(values, dict) and len(values) > COUNT_LIMIT:
        raise errors.TooManyMessageAttributes(len(values))
    return values


def _user(values: Values) -> Values:
    for name, value in values.items():
        _check_name("user", name)
        _check_value("user", name, value)
    return values


def _system(values: Values) -> Values:
    for name, value in values.items():
        if name != "AWSTraceHeader":
            raise errors.UnknownSystemAttribute(name)
        _check_value("system", name, value)
        if value.DataType != "String":
            raise errors.InvalidAttributeType("system", name)
    return values


UserAttributes = Annotated[Values, BeforeValidator(_few), AfterValidator(_user)]
SystemAttributes = Annotated[Values, BeforeValidator(_few), AfterValidator(_system)]


def size(values: Values) -> int:
    """Return the bytes that count towards a message's limit: names, types with their labels, values."""
    return sum(
        len(name.encode()) + len((value.DataType or "").encode()) + len(value.raw()) for name, value in values.items()
    )


def md5(values: Values) -> str:
    """Return the digest that SDKs check (contract 4.2)."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(values, key=str.encode):
        value = values[name]
        data_type = value.DataType or ""
        digest.update(_sized(name.encode()) + _sized(data_type.encode()))
        digest.update(TRANSPORT[data_type.partition(".")[0]] + _sized(value.raw()))
    return digest.hexdigest()


def _sized(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def shown(values: Values) -> dict[str, dict[str, str]]:
    """Return values as an answer shows them: a type, and a text or base64."""
    return {
        name: {"DataType": value.DataType or "", "StringValue": value.StringValue}
        if value.StringValue is not None
        else {"DataType": value.DataType or "", "BinaryValue": base64.b64encode(value.raw()).decode()}
        for name, value in values.items()
    }


def pack(values: Values) -> bytes:
    """Return values as they are stored: the JSON that an answer shows."""
    return to_json(shown(values))


def unpack(packed: str) -> Values:
    """Return the values that `pack` stored."""
    return {name: MessageAttributeValue.model_validate(value) for name, value in from_json(packed).items()}


def selected(values: Mapping[str, MessageAttributeValue], wanted: frozenset[str]) -> Values:
    """Return the values asked for: by name, `All`, `.*` or `*`, or a prefix before `.*` (contract 4.5)."""
    if wanted & {"All", ".*", "*"}:
        return dict(values)
    return {name: value for name, value in values.items() if name in wanted or _has_prefix(name, wanted)}


def _has_prefix(name: str, wanted: frozenset[str]) -> bool:
    """Say whether a prefix of a name is wanted. However many are, a name has few."""
    return any(f"{name[:length]}.*" in wanted for length in range(1, len(name) + 1))
