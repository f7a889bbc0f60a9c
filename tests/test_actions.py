"""The table of actions."""

from questd import extensions
from questd.action import Action
from questd.actions import ACTIONS, DIFFERENCES, table
from tests.stories import ROOT


def _all(kind: type[Action]) -> set[str]:
    return {name for sub in kind.__subclasses__() for name in ({sub.__name__} | _all(sub))}


def test_every_action_is_in_the_table() -> None:
    """A class that is an action can be asked for by its name; those that others build on cannot."""
    asked_for = ACTIONS.keys() | extensions.ACTIONS.keys()
    made = {name for name in _all(Action) if name.endswith("BatchRequestEntry")}  # while a wrong batch was read
    assert _all(Action) - {"QueueAction", "CallAction", "BatchAction", "PermissionAction"} - made == asked_for


def test_the_documentation_shows_every_action() -> None:
    """docs/differences.md has the table of actions as it is generated, with what differs from AWS."""
    assert DIFFERENCES.keys() == ACTIONS.keys()
    assert f"\n{table()}\n" in (ROOT / "docs" / "differences.md").read_text()
