"""The fault suite: that its checker sees every broken promise, and that questd keeps them, in short."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import report
from tests.chaos.checker import Verdict, check
from tests.chaos.faults import (
    FAULTS,
    Fault,
    clients_vanish,
    functions_flushed,
    power_lost,
    read_only,
    redis_killed,
    worker_killed,
    workers_replaced,
)
from tests.chaos.history import Change, Deletion, Delivery, History, Outcome, Send
from tests.chaos.load import Load
from tests.chaos.stage import ALWAYS, EMBEDDED, EVERYSEC, Stage
from tests.chaos.trial import Trial, all_trials, attempt

ACKNOWLEDGED, REFUSED, UNKNOWN = Outcome
HIDDEN = 2.0


def sent(body: str = "a", at: float = 0.0, group: str = "", outcome: Outcome = ACKNOWLEDGED) -> Send:
    """Return a message, sent within a tenth of a second."""
    return Send("q", body, group, at, at + 0.1, outcome)


def given(body: str = "a", at: float = 1.0, count: int = 1, begun: float | None = None, **place: int) -> Delivery:
    """Return a delivery whose answer came then; its handle is body and receive count."""
    where = {"receive": round(at * 100), "place": 0} | place
    return Delivery(body, f"{body}{count}", count, at - 0.1 if begun is None else begun, at, HIDDEN, **where)


def deleted(handle: str = "a1", at: float = 1.5, outcome: Outcome = ACKNOWLEDGED) -> Deletion:
    """Return a deletion that began a tenth of a second ago."""
    return Deletion(handle, at - 0.1, at, outcome)


def changed(handle: str, at: float, seconds: float, outcome: Outcome = ACKNOWLEDGED) -> Change:
    """Return a change of visibility that began a tenth of a second ago."""
    return Change(handle, seconds, at - 0.1, at, outcome)


def judged(*operations: Send | Delivery | Deletion | Change, **more: Any) -> dict[str, int]:
    """Judge a history; return how many promises of each kind were broken."""
    history = History(**more)
    lists: dict[type, list[Any]] = {
        Send: history.sends,
        Delivery: history.deliveries,
        Deletion: history.deletions,
        Change: history.changes,
    }
    for operation in operations:
        lists[type(operation)].append(operation)
    verdict = check(history)
    return {name: len(found) for name, found in vars(verdict).items() if found}


FINE: list[Any] = [sent(), given(), deleted()]
ORDERED: list[Any] = [sent("a", 0, "g"), sent("b", 0.2, "g")]


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param(FINE, id="sent, received, deleted"),
        pytest.param([sent(outcome=UNKNOWN)], id="a send of unknown outcome was not stored"),
        pytest.param([sent(outcome=UNKNOWN), given(), deleted()], id="a send of unknown outcome was stored"),
        pytest.param([sent(outcome=REFUSED)], id="a refused send was not stored"),
        pytest.param([sent(), given(), deleted(outcome=UNKNOWN)], id="a deletion of unknown outcome was done"),
        pytest.param([sent(), given(), given(at=3.2, count=2), deleted("a2", 4)], id="it timed out"),
        pytest.param(
            [sent(), given(), deleted("a1", 3.2), given(at=3.25, count=2, begun=3.05), deleted("a2", 4)],
            id="a deletion and another receive at the same time",
        ),
        pytest.param(
            [sent(), given(at=2.9, begun=0.0), given(at=3, count=2), deleted("a2", 4)],
            id="a long poll may have had it early",
        ),
        pytest.param(
            [sent(), given(), changed("a1", 1.5, 0), given(at=1.6, count=2), deleted("a2")], id="shown at once"
        ),
        pytest.param(
            [sent(), given(), changed("a1", 1.5, 0, UNKNOWN), given(at=2.8, count=2), deleted("a2", 2.9)],
            id="perhaps shown at once",
        ),
        pytest.param(
            [sent(), given(), given(at=3.2, count=2), changed("a1", 3.4, 0), given(at=3.6, count=3), deleted("a3", 4)],
            id="an older handle shows it, as on AWS",
        ),
        pytest.param([*ORDERED, given("a"), deleted("a1"), given("b", 2), deleted("b1", 2.5)], id="in order"),
        pytest.param(
            [*ORDERED, given("a", receive=1), given("b", receive=1, place=1), deleted("a1"), deleted("b1")],
            id="together and in order",
        ),
        pytest.param(
            [sent("a", 0, "g"), sent("b", 0.2, "h"), given("b"), deleted("b1"), given("a", 2), deleted("a1", 2.5)],
            id="groups have no order",
        ),
    ],
)
def test_what_may_be(operations: Sequence[Any]) -> None:
    """The checker says nothing against a history that some order of events explains."""
    assert judged(*operations) == {}


@pytest.mark.parametrize(
    ("operations", "broken"),
    [
        pytest.param([sent()], "lost", id="never seen again"),
        pytest.param([sent(), given()], "lost", id="received once, not deleted, gone"),
        pytest.param([sent(), given(), deleted(outcome=REFUSED)], "lost", id="gone, though its deletion was refused"),
        pytest.param([sent(), given(), given(at=2.8, count=2), deleted("a2", 4)], "twice", id="two holders"),
        pytest.param(
            [sent(), given(), changed("a1", 1.5, 4), given(at=5.3, count=2), deleted("a2", 6)],
            "twice",
            id="two holders, after it was hidden for longer",
        ),
        pytest.param([*FINE, given(at=5, count=2), deleted("a2", 6)], "twice", id="delivered after it was deleted"),
        pytest.param(
            [sent(), given(), given(at=3.2, count=2), deleted("a1", 3.5)], "by_old_handle", id="gone by an old handle"
        ),
        pytest.param(
            [sent(), given(), given(at=3.2, count=2), deleted("a1", 3.5, UNKNOWN)],
            "by_old_handle",
            id="gone, perhaps by an old handle",
        ),
        pytest.param(
            [*ORDERED, given("b"), deleted("b1"), given("a", 2), deleted("a1", 2.5)], "disordered", id="out of order"
        ),
        pytest.param(
            [*ORDERED, given("a"), given("b", 1.2), deleted("a1"), deleted("b1")],
            "disordered",
            id="the next one while the first is in flight",
        ),
        pytest.param(
            [*ORDERED, given("b", receive=1), given("a", receive=1, place=1), deleted("a1"), deleted("b1")],
            "disordered",
            id="together, the wrong way round",
        ),
        pytest.param([given()], "unsent", id="nobody sent it"),
        pytest.param([sent(outcome=REFUSED), given(), deleted()], "unsent", id="its sender was refused"),
    ],
)
def test_what_must_not_be(operations: Sequence[Any], broken: str) -> None:
    """The checker finds each broken promise, once and as what it is."""
    assert judged(*operations) == {broken: 1}


def test_what_was_not_on_disk() -> None:
    """What was acknowledged in a lost second may be undone, is counted, and breaks no promise; what came before may not."""
    cut = [(1.2, 3.0)]
    assert judged(sent(at=1.1), cuts=cut) == {"undone": 1}
    assert judged(*FINE, given(at=5, count=2), deleted("a2", 6), cuts=cut) == {"undone": 1}
    assert judged(sent(), given(at=1.3), given(at=2.0, count=1), deleted("a1", 5), cuts=cut) == {}
    assert judged(sent(at=1.0), cuts=cut) == {"lost": 1}
    assert Verdict(undone=["x"]).broken == []


def test_what_was_thrown_away() -> None:
    """A message that the operator threw away is not lost; one that was sent later is."""
    assert judged(sent(), sent("b", 5), wipes=[(1, 2)]) == {"lost": 1}
    assert judged(sent(), wipes=[(1, 2)]) == {}


def test_the_order_of_many_is_looked_at_fast() -> None:
    """A long FIFO history is judged in a moment: the load of minutes must not take hours."""
    operations: list[Any] = []
    for i in range(20_000):
        operations += [sent(str(i), i, "g"), given(str(i), i + 0.5), deleted(f"{i}1", i + 0.8)]
    assert judged(*operations) == {}


def test_every_fault_has_a_trial() -> None:
    """Each fault is tried with each kind of Redis that it can befall, or those chosen only."""
    assert [fault.name for fault, _ in all_trials()] == [fault.name for fault in FAULTS for _ in fault.durabilities]
    assert [each for _, each in all_trials(["power lost"])] == [ALWAYS, EVERYSEC, EMBEDDED]


def test_the_table(tmp_path: Path) -> None:
    """A trial is a row of figures, which takes the place of the old ones in the README; what broke is said."""
    trial = Trial("none", ALWAYS, History(mistakes=["500"]), Verdict(lost=["a is lost"]))
    (tmp_path / "README.md").write_text(f"before\n{report.BEGIN}\nbefore\n{report.END}\nafter\n")
    report.into_readme([trial], tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.count("before") == 1
    assert text.startswith(f"before\n{report.BEGIN}\n\n| fault | Redis |")
    assert text.endswith(f"{report.END}\nafter\n")
    assert report.broken([trial]) == "none, always: a is lost\nnone, always: 500"


async def several(stage: Stage, load: Load) -> None:
    """Make one fault after the other."""
    for stroke in (
        functions_flushed,
        clients_vanish,
        worker_killed,
        redis_killed,
        read_only,
        workers_replaced,
        power_lost,
    ):
        await stroke(stage, load)


def test_promises_are_kept() -> None:
    """Faults while clients work break no promise, and questd works again after them: `make chaos` in short."""
    trial = asyncio.run(attempt(Fault("several", several, 0), ALWAYS, 0.1, seed=1))
    assert trial.broken == []
    assert trial.strokes == 1
    assert trial.history.requests[ACKNOWLEDGED] > 100
