"""`questd import`: which reader gets a file, what comes out is right for questd, and what is said when it cannot be."""

import sys
from pathlib import Path

import pytest

from questd import imports
from questd.__main__ import main
from questd.settings import BadSetting
from tests import test_elasticmq, test_goaws


@pytest.mark.parametrize(
    ("name", "content"), [("elasticmq.conf", test_elasticmq.EVERYTHING), ("goaws.YAML", test_goaws.EVERYTHING)]
)
def test_what_comes_out_is_right(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`questd check` finds nothing wrong with the TOML that is printed."""
    monkeypatch.setenv("QUESTD_DATA_DIR", str(tmp_path))
    file, made = tmp_path / name, tmp_path / "questd.toml"
    file.write_text(content)
    assert main(["import", str(file)]) == 0
    printed = capsys.readouterr().out
    assert f"out of {name}." in printed
    made.write_text(printed)
    assert main(["check", "--config", str(made)]) == 0
    output = capsys.readouterr().out
    assert f" declared in {made}" in output
    assert "WRONG" not in output


def test_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra's libraries it is said how to install them."""
    monkeypatch.delitem(sys.modules, "questd.elasticmq")
    monkeypatch.setitem(sys.modules, "pyhocon", None)
    with pytest.raises(BadSetting, match=r"^to import, questd needs pyhocon: pip install 'questd\[import\]'$"):
        imports.toml(tmp_path / "elasticmq.conf")


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of another kind, one that is not there and one that is no text are told in a line, with status 1."""
    (tmp_path / "bytes.conf").write_bytes(b"\xff")
    for name, said in [
        ("a.ini", "neither ElasticMQ's"),
        ("none.conf", "cannot be read"),
        ("bytes.conf", "cannot be read"),
    ]:
        assert main(["import", str(tmp_path / name)]) == 1
        output, errors = capsys.readouterr()
        assert output == ""
        assert errors.startswith(f"questd: {tmp_path / name} ")
        assert said in errors
        assert errors.count("\n") == 1
