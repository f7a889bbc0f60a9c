"""Message attributes in themselves: digests, rules, filters, and the characters of a body (contract 4.2 to 4.5)."""

import base64
import time
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from questd import errors
from questd.message_attributes import (
    FORBIDDEN,
    SystemAttributes,
    UserAttributes,
    Values,
    is_text,
    md5,
    pack,
    selected,
    shown,
    size,
    unpack,
)
from questd.mistakes import mistake


class Checked:
    """Attributes of a kind, checked as those of a request: what is wrong is told as the request is told it."""

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[Values] = TypeAdapter(kind)

    def validate_python(self, given: Any) -> Values:
        """Return the values, or raise what is wrong with them."""
        try:
            return self._adapter.validate_python(given)
        except ValidationError as error:
            raise mistake(error) from error


USER = Checked(UserAttributes)
SYSTEM = Checked(SystemAttributes)


def text(value: str, data_type: str = "String") -> dict[str, str]:
    """Return a value that is a text."""
    return {"DataType": data_type, "StringValue": value}


def binary(value: bytes) -> dict[str, str]:
    """Return a value that is bytes."""
    return {"DataType": "Binary", "BinaryValue": base64.b64encode(value).decode()}


@pytest.mark.parametrize(
    ("attributes", "digest"),
    [
        ({"k": text("x")}, "a45daa70926828a2f0a1db3418e6feb4"),
        ({"color": text("blue")}, "da1b33cc3cbfe8b1630921e78e6b9880"),
        (
            {"color": text("blue"), "count": text("3", "Number"), "blob": binary(b"\1\2\3")},
            "d838729972a4b70e2d2acd9d59ac847c",
        ),
        ({"timestamp": text("1493147359900", "Number")}, "235c5c510d26fb653d073faed50ae77c"),
        (
            {"Help.Me": text("Me"), "Hello": text("There"), "General": text("Kenobi")},
            "4c360f3fdafd970e05fae2f149d997f5",
        ),
        ({"Hello": text("There")}, "a311262e065454b75da111d535b8dacd"),
        ({"Foo": text("Bar")}, "ae7155c6026991b6d54b11589678bf9c"),
        ({"MyAttribute": text("foobar")}, "adb59cd4678ea5a855436b949cd07ab6"),
        (
            {"attr1": binary(b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01")},
            "8cbe4db156db8a94db8b801b7addb984",
        ),
    ],
)
def test_digests_of_aws(attributes: dict[str, Any], digest: str) -> None:
    """The digest is the one that AWS gave for the same attributes."""
    assert md5(USER.validate_python(attributes)) == digest
    assert md5(USER.validate_python(dict(reversed(attributes.items())))) == digest


def test_the_digest_of_a_system_attribute() -> None:
    """System attributes have the same digest algorithm."""
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    values = SYSTEM.validate_python({"AWSTraceHeader": text(header)})
    assert md5(values) == "5ae4d5d7636402d80f4eb6d213245a88"


NO_CHARACTER = (
    "Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens "
    "and underscores."
)
RESERVED = (
    "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. "
    "These strings are reserved for internal use."
)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {f"a{i}": text("x") for i in range(11)},
            "Number of message attributes [11] exceeds the allowed maximum [10].",
        ),
        ({"X": text("")}, "Message (user) attribute 'X' must contain a non-empty value of type 'String'."),
        ({"X": text("", "Number")}, "Message (user) attribute 'X' must contain a non-empty value of type 'Number'."),
        ({"X": binary(b"")}, "Message (user) attribute 'X' must contain a non-empty value of type 'Binary'."),
        (
            {"X": {"DataType": "String"}},
            "The message (user) attribute 'X' must contain a non-empty message attribute value.",
        ),
        (
            {"X": {"StringValue": "x"}},
            "The message (user) attribute 'X' must contain a non-empty message attribute type.",
        ),
        (
            {"X": text("x", "string")},
            (
                "The type of message (user) attribute 'X' is invalid. "
                "You must use only the following supported type prefixes: Binary, Number, String."
            ),
        ),
        ({"Age": text("old", "Number")}, "Can't cast the value of message (user) attribute 'Age' to a number."),
        (
            {"X": binary(b"x") | {"DataType": "String"}},
            "Message (user) attribute 'X' with type 'String' must use field 'String'.",
        ),
        ({"X": text("x", "Binary")}, "Message (user) attribute 'X' with type 'Binary' must use field 'Binary'."),
        ({"X": binary(b"x") | text("x")}, "Message (user) attribute 'X' must have a single value."),
        ({"X": text("x", "String." + "x" * 256)}, "Message (user) attribute type must be shorter than 256 bytes."),
        ({"x" * 257: text("x")}, "Message (user) attribute name must be shorter than 256 bytes."),
        ({"": text("x")}, "The request must contain non-empty message (user) attribute names."),
        ({".x": text("x")}, "Message (user) attribute name must not begin with character '.'."),
        ({"x.": text("x")}, "Message (user) attribute name must not end with character '.'."),
        ({"x..y": text("x")}, "Message (user) attribute name must not have successive '.' characters."),
        *(({name: text("x")}, NO_CHARACTER) for name in ("a!", 'a"', "a§", "a(", "a?", "a b", "a\n")),
        *(({name: text("x")}, RESERVED) for name in ("AWS.x", "aWs.x", "Amazon.x", "AMAZON.x")),
        (
            {"X": text("x") | {"StringListValues": ["x"]}},
            "Message attribute list values in SendMessage operation are not supported.",
        ),
    ],
)
def test_what_is_refused(attributes: dict[str, Any], message: str) -> None:
    """A wrong attribute is refused in AWS's words (contract 4.3)."""
    with pytest.raises(errors.SQSError) as caught:
        USER.validate_python(attributes)
    assert caught.value.message == message


def test_utf8_is_looked_at_as_text_is() -> None:
    """Every character is taken or not, whether it is looked for in a text or in its UTF-8."""
    for number in (*range(0xD800), *range(0xE000, 0x10FFFF, 7), 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x10FFFF):
        character = chr(number)
        assert is_text(f"a{character}b".encode()) == (FORBIDDEN.search(character) is None), hex(number)


@pytest.mark.parametrize("character", "\0\x08\x13\uffff")
def test_forbidden_characters_in_a_value(character: str) -> None:
    """A text and a type's label obey the body's rule, but what breaks it is an invalid parameter (contract 4.3)."""
    for value in (text(character), text("x", f"String.{character}")):
        with pytest.raises(errors.InvalidParameter, match="Reason: Invalid characters found") as caught:
            USER.validate_python({"X": value})
        assert caught.value.code == "InvalidParameterValue"


@pytest.mark.parametrize("value", ["x1", "1x", " 1", "1\n", ".", "e5", "٣", "NaN", "0x10"])
def test_numbers_that_are_none(value: str) -> None:
    """A Number is decimal, in ASCII, with nothing around it."""
    with pytest.raises(errors.AttributeNotANumber):
        USER.validate_python({"X": text(value, "Number")})


def test_a_long_number_is_refused_at_once() -> None:
    """The time that a megabyte of digits takes grows with its length, not with the square of it."""
    started = time.process_time()
    with pytest.raises(errors.AttributeNotANumber):
        USER.validate_python({"X": text("1" * 1_000_000 + "x", "Number")})
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attr.1øßä", text("x")),
        ("x" * 256, text("x")),
        ("aws", text("x")),
        ("a_b-c.d", text("\t\r\n")),
        ("b", binary(b"\0") | {"DataType": "Binary.gif"}),
        ("n", text("-1.5e10", "Number")),
        ("n", text("1", "Number.int")),
    ],
)
def test_what_is_taken(name: str, value: dict[str, str]) -> None:
    """Letters of any alphabet, labels on types, numbers as they are written."""
    assert shown(USER.validate_python({name: value})) == {name: value}


@pytest.mark.parametrize("value", ["*", "A", "AQ=", "AQ==x", "é"])
def test_base64_that_is_none(value: str) -> None:
    """A BinaryValue that is no base64 is no value of that type."""
    with pytest.raises(errors.SerializationException):
        USER.validate_python({"X": {"DataType": "Binary", "BinaryValue": value}})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (text(""), "Message (system) attribute '{}' must contain a non-empty value of type 'String'."),
        (
            {"DataType": "String"},
            "The message (system) attribute '{}' must contain a non-empty message attribute value.",
        ),
        ({"StringValue": "x"}, "The message (system) attribute '{}' must contain a non-empty message attribute type."),
        (text("x", "String." + "x" * 256), "Message (system) attribute type must be shorter than 256 bytes."),
        (text("x", "Number"), "Can't cast the value of message (system) attribute '{}' to a number."),
        (text("x", "Binary"), "Message (system) attribute '{}' with type 'Binary' must use field 'Binary'."),
        (
            binary(b"x") | {"DataType": "String"},
            "Message (system) attribute '{}' with type 'String' must use field 'String'.",
        ),
        (binary(b"x") | text("x"), "Message (system) attribute '{}' must have a single value."),
    ],
)
def test_what_is_refused_of_a_system_attribute(value: dict[str, str], message: str) -> None:
    """The texts are those of users' attributes, with (system) in them."""
    with pytest.raises(errors.InvalidParameterValueException) as caught:
        SYSTEM.validate_python({"AWSTraceHeader": value})
    assert caught.value.message == message.format("AWSTraceHeader")


@pytest.mark.parametrize("value", [text("1", "Number"), text("x", "String.label"), text("x", "x"), binary(b"x")])
def test_a_trace_header_is_a_string(value: dict[str, str]) -> None:
    """AWSTraceHeader has no other type, and no label."""
    with pytest.raises(errors.InvalidAttributeType, match=r"\(system\) attribute 'AWSTraceHeader'"):
        SYSTEM.validate_python({"AWSTraceHeader": value})


@pytest.mark.parametrize("name", ["Hello", "awstraceheader", "SenderId", ""])
def test_unknown_system_attributes(name: str) -> None:
    """There is one system attribute that can be sent."""
    with pytest.raises(errors.UnknownSystemAttribute) as caught:
        SYSTEM.validate_python({name: text("x")})
    assert caught.value.message == f"Message system attribute name '{name}' is invalid."


def test_size_counts_names_types_and_raw_values() -> None:
    """Bytes count as they are, not as base64; a label counts too (contract 4.4)."""
    attributes = {"ж": text("x", "Number.int") | {"StringValue": "12"}, "b": binary(b"\0" * 30)}
    assert size(USER.validate_python(attributes)) == (2 + len("Number.int") + 2) + (1 + len("Binary") + 30)


def test_what_is_packed_is_unpacked() -> None:
    """Stored attributes come back as they were."""
    values = USER.validate_python({"a": text("ж🍕"), "b": binary(b"\0\xff")})
    assert unpack(pack(values).decode()) == values


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["All"], {"Hello", "Help.Me", "foo"}),
        ([".*"], {"Hello", "Help.Me", "foo"}),
        (["*"], {"Hello", "Help.Me", "foo"}),
        (["foo"], {"foo"}),
        (["Hel.*"], {"Hello", "Help.Me"}),
        (["Help.*", "foo"], {"Help.Me", "foo"}),
        (["nope", "AWS.x", "!", "FOO", "Hel*", "fo.", "[a-z]+"], set()),
        ([], set()),
    ],
)
def test_filters(names: list[str], found: set[str]) -> None:
    """All, an exact name, or what stands before `.*`; unknown names are ignored (contract 4.5)."""
    values = USER.validate_python({name: text("x") for name in ("Hello", "Help.Me", "foo")})
    assert selected(values, frozenset(names)).keys() == found


@pytest.mark.parametrize("character", "\0\x08\x0b\x0c\x13\x1f\ufffe\uffff")
def test_forbidden_characters(character: str) -> None:
    """A body has no character that XML has none for."""
    assert not is_text(f"a{character}b".encode())


@pytest.mark.parametrize("character", "\t\n\r \x7f\ud7ff\ue000\ufffd\U00010000\U0010ffff")
def test_allowed_characters(character: str) -> None:
    """Both ends of every allowed range are allowed."""
    assert is_text(f"a{character}b".encode())
