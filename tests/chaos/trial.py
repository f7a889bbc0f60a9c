"""One trial: a load, a fault that strikes again and again, recovery, a drain, and the verdict on all of it."""

import asyncio
import re
import time
from dataclasses import dataclass, field

from tests.chaos.checker import Verdict, check
from tests.chaos.faults import FAULTS, QUIET, Fault
from tests.chaos.history import History, Outcome
from tests.chaos.load import FIFO, STANDARD, Load, loading, working
from tests.chaos.stage import DELETED, Stage, staged

RECOVERY_SECONDS = 30.0
"""How long questd may take to work again after a fault, on a machine that does much else."""

DRAIN_SECONDS = 60.0
WARM = 50
"""Acknowledged requests before the first stroke."""


@dataclass
class Trial:
    """What a trial found."""

    fault: str
    durability: str
    history: History
    verdict: Verdict = field(default_factory=Verdict)
    strokes: int = 0
    back_seconds: float = 0.0
    """The longest time from the end of a stroke to the next acknowledged send and to the next message received."""
    left_over: list[str] = field(default_factory=list)
    """Messages, by the counts, and keys in Redis that stay without a reason."""

    @property
    def operations(self) -> int:
        """How many requests were made."""
        return self.history.requests.total()

    @property
    def broken(self) -> list[str]:
        """Every broken promise, a line each."""
        return [*self.verdict.broken, *self.left_over, *self.history.mistakes]


async def attempt(fault: Fault, durability: str, seconds: float, seed: int) -> Trial:
    """Make a trial of a fault for about so many seconds."""
    trial = Trial(fault.name, durability, History())
    with staged(durability) as stage:
        async with loading(stage.questd.address, trial.history, seed) as load:
            async with working(load), stage.watching():
                await _until_acknowledged(trial.history, WARM)
                await _strike(fault, stage, load, trial, seconds)
            await _drain(stage, load, trial)
        trial.history.mistakes += _tracebacks(stage.log)
    trial.verdict = check(trial.history)
    return trial


async def _until_acknowledged(history: History, count: int) -> None:
    async with asyncio.timeout(RECOVERY_SECONDS):
        while history.requests[Outcome.ACKNOWLEDGED] < count:
            await asyncio.sleep(0.01)


async def _strike(fault: Fault, stage: Stage, load: Load, trial: Trial, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not trial.history.mistakes:
        try:
            await fault.stroke(stage, load)
            trial.back_seconds = max(trial.back_seconds, await _recovered(trial.history))
        except TimeoutError:
            trial.history.mistakes.append("questd does not work again")
        stage.strokes = trial.strokes = stage.strokes + 1
        await asyncio.sleep(fault.pause_seconds)


async def _recovered(history: History) -> float:
    """Return how many seconds pass until a send begun from now on is acknowledged, and messages are received again."""
    begun = time.monotonic()
    sends, deliveries = len(history.sends), len(history.deliveries)
    async with asyncio.timeout(RECOVERY_SECONDS):
        while not _works(history, begun, sends, deliveries):
            await asyncio.sleep(0.01)
    return time.monotonic() - begun


def _works(history: History, since: float, sends: int, deliveries: int) -> bool:
    sent = any(each.begun > since and each.outcome is Outcome.ACKNOWLEDGED for each in history.sends[sends:])
    return sent and any(each.ended > since for each in history.deliveries[deliveries:])


async def _drain(stage: Stage, load: Load, trial: Trial) -> None:
    """Empty the queues, note what is left, delete them, and note which keys are."""
    for queue in (STANDARD, FIFO):
        if left := await load.drain(queue, DRAIN_SECONDS):
            trial.left_over.append(f"{queue}: {left} messages are left")
    trial.left_over += [f"{key} is left of empty queues" for key in stage.left_over()]
    for queue in (STANDARD, FIFO, QUIET):
        await load.ask("DeleteQueue", QueueUrl=queue)
    trial.left_over += [f"{key} is left of deleted queues" for key in await _remains(stage)]


async def _remains(stage: Stage) -> list[str]:
    """Return the keys of deleted queues once the background task had time for them."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (keys := stage.left_over({DELETED})) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return keys


def _tracebacks(log: str) -> list[str]:
    """Return what questd did not expect, the last line of each traceback."""
    return re.findall(r"^Traceback .*\n(?:[ ].*\n|\n)*(\S.*)", log, re.MULTILINE)


def all_trials(only: list[str] | None = None) -> list[tuple[Fault, str]]:
    """Return every fault and how Redis keeps its file, those chosen or all."""
    chosen = [fault for fault in FAULTS if not only or fault.name in only]
    return [(fault, durability) for fault in chosen for durability in fault.durabilities]
