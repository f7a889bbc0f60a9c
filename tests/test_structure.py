"""The house rules that a program can check: twins, directions of imports, nothing invented beside AWS's model."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from questd import errors
from questd.actions import ACTIONS
from questd.batches import BatchAction

PACKAGE = Path(errors.__file__).parent
TESTS = Path(__file__).parent

ORDER = (
    "__main__ workers worker port server listener app connection answer aws_json aws_query actions batches redrive permissions queues tags messages "
    "queue_attributes policies action namespaces grants background relay registry library longpoll "
    "topology cluster sentinel primaries message_attributes identifiers cancellation pipeline embedded guard errors "
    "settings addresses"
).split()
"""A module imports only modules that stand further right."""


MODEL: dict[str, Any] = Loader().load_service_model("sqs", "service-2")


def _modules() -> list[str]:
    return sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def _imports(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "questd":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("questd."):
            found.add(str(node.module).partition(".")[2])
    return found


def test_every_module_is_in_the_order() -> None:
    """The order of imports names every module, and no other."""
    assert sorted(ORDER) == _modules()


@pytest.mark.parametrize("module", _modules())
def test_imports_point_downwards(module: str) -> None:
    """A module imports only what stands further down."""
    below = set(ORDER[ORDER.index(module) + 1 :])
    assert _imports(module) - {"__version__"} <= below


@pytest.mark.parametrize("module", _modules())
def test_every_module_has_its_test(module: str) -> None:
    """`messages.py` is tested in `test_messages.py`."""
    assert (TESTS / f"test_{module.strip('_')}.py").exists()


@pytest.mark.parametrize("file", sorted(path.stem for path in (PACKAGE / "lua").glob("*.lua")))
def test_every_lua_file_has_its_test(file: str) -> None:
    """`messages.lua` is tested in `lua/test_messages.py`."""
    assert (TESTS / "lua" / f"test_{file}.py").exists()


def test_lua_fails_with_known_names() -> None:
    """Every error that a function of AWS's side names is a class in errors.py; the Quest functions' are plain texts."""
    for path in (PACKAGE / "lua").glob("*.lua"):
        for name in re.findall(r"fail\('(\w+)'", path.read_text()):
            assert issubclass(getattr(errors, name), errors.SQSError), f"{path.name}: {name}"


def test_actions_are_those_of_the_model() -> None:
    """Every action of AWS's model is there, and no other."""
    assert ACTIONS.keys() == MODEL["operations"].keys()
    assert len(ACTIONS) == 23


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_members_are_those_of_the_model(action: str) -> None:
    """An action takes the members that AWS's model gives it, none left out and none invented."""
    shape = MODEL["operations"][action]["input"]["shape"]
    assert set(ACTIONS[action].model_fields) == set(MODEL["shapes"][shape]["members"])


@pytest.mark.parametrize("action", sorted(name for name, action in ACTIONS.items() if issubclass(action, BatchAction)))
def test_entries_are_those_of_the_model(action: str) -> None:
    """An entry of a batch has the name and the members that AWS's model gives it."""
    entry = ACTIONS[action].entry_model  # type: ignore[attr-defined]
    assert set(entry.model_fields) == set(MODEL["shapes"][entry.__name__]["members"])


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_errors_are_those_of_the_model(action: str) -> None:
    """Every error that AWS's model gives an action is a class of that name (codes: test_errors.py)."""
    for reference in MODEL["operations"][action].get("errors", []):
        assert getattr(errors, reference["shape"]).type == f"com.amazonaws.sqs#{reference['shape']}"
