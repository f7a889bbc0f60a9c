"""The source of the library: all of its files, each where a later one finds what it uses."""

from pathlib import Path

from questd import source


def test_every_file_is_in_it() -> None:
    """No file of lua/ is left out, and none is named that is not there."""
    there = {path.stem for path in (Path(source.__file__).parent / "lua").glob("*.lua")}
    assert {*source.FILES, "clock"} == there
    assert len(source.FILES) == len(there) - 1


def test_a_clock_only_in_test_mode() -> None:
    """The source has the test clock only when asked for."""
    assert "quest_clock" in source.text(test_mode=True)
    assert "quest_clock" not in source.text(test_mode=False)
