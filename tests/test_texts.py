"""Texts: what is shown of bodies, times and sizes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questd.texts import age, body_of, moment, number, pretty, size

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES), st.sampled_from([None, 1]), st.booleans())
def test_pretty_changes_white_space_only(value: object, indent: int | None, ascii_only: bool) -> None:  # noqa: FBT001
    """Whatever the JSON, it is as Python indents it, and means the same."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert pretty(text) == json.dumps(value, indent=2, ensure_ascii=ascii_only)


def test_pretty_keeps_what_was_sent() -> None:
    """Numbers beyond Python's, escapes and keys that are there twice stay as they were sent."""
    assert pretty(r'{"a":1.10,"a":1e999,"b":"\u00e9{,"}') == '{\n  "a": 1.10,\n  "a": 1e999,\n  "b": "\\u00e9{,"\n}'


@pytest.mark.parametrize("text", ["", "plain", "12", '"text"', "{", "[1,]", "{'a': 1}", "[" * 100_000])
def test_what_is_no_json(text: str) -> None:
    """Other texts, and what only begins as JSON, are left alone."""
    assert pretty(text) is None
    assert body_of(text, 200_000).text == text


def test_body() -> None:
    """A body is one line in a list; a long one is cut, and says how long it is."""
    body = body_of('{"a":\n 1}', 100)
    assert body == ('{"a": 1}', '{\n  "a": 1\n}', True, 9, False)
    body = body_of("é" * 1000, 100)
    assert (len(body.preview), len(body.text), body.size, body.cut) == (140, 100, 2000, True)


def test_words() -> None:
    """Times, sizes and numbers are short."""
    assert [age(ms) for ms in (-5, 999, 1000, 59_999, 60_000, 7_200_000, 200_000_000)] == [
        "0 s",
        "0 s",
        "1 s",
        "59 s",
        "1 min",
        "2 h",
        "2 d",
    ]
    assert [size(count) for count in (0, 1023, 1536, 3 * 2**20)] == ["0 bytes", "1023 bytes", "1.5 KiB", "3.0 MiB"]
    assert [number(value) for value in (0, 0.04, 2.5, 999.6, 1234567)] == [
        "0",
        "0.0",
        "2.5",
        "1\u202f000",
        "1\u202f234\u202f567",
    ]
    assert moment(0) == "1970-01-01 00:00:00"
