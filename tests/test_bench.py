"""The benchmark itself: that what it reports was done. Nothing here is timed."""

import shutil

import pytest

from tests.bench.__main__ import SCENARIOS, Scenario, bare, measure, questd, run, table

pytestmark = pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is missing: apt-get install wrk")

SMALL = [scenario for scenario in SCENARIOS if scenario.depth <= 100_000]


@pytest.mark.parametrize("scenario", SMALL, ids=lambda scenario: scenario.name)
def test_every_load_does_what_it_says(scenario: Scenario) -> None:
    """Wrk's figures add up, nothing is refused, and what was sent is in the queue or was taken."""
    small = Scenario(**vars(scenario) | {"depth": min(scenario.depth, 400), "workers": 1})
    with questd(small.workers) as server:
        figures = run(small, server, 1)
        assert (figures["refused"], figures["lost"]) == (0, 0)
        assert figures["requests"] > 0
        assert figures["deleted"] <= figures["received"] <= figures["sent"] + small.depth
        url = server.url + ("000000000000/q.fifo" if small.groups else "000000000000/q")
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = server.post("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": names})["Attributes"]
        left = figures["sent"] + small.depth - figures["deleted"]
        # Requests that were on their way when the time was up are in one count and not in the other.
        assert abs(sum(map(int, counts.values())) - left) <= 10 * 32
        assert (figures["sent"] > 0) == (small.mode != "drain")
        assert (figures["deleted"] > 0) == (small.mode != "send")
        assert set(figures["cpu_us"]) == {"questd", "redis"}


def test_the_bare_handler() -> None:
    """The row to compare with answers everything."""
    with bare() as server:
        figures = run(SCENARIOS[0], server, 1)
    assert figures["requests"] > 0
    assert (figures["refused"], figures["lost"]) == (0, 0)


def test_the_table() -> None:
    """The table has a row for every load and server, and the ratio of both."""
    rows = table(measure(SCENARIOS[:1], 1, 1)).splitlines()
    assert len(rows) == 4
    assert rows[2].startswith("| cycle, one worker |")
    assert not rows[2].endswith("|  |")
    assert rows[3].endswith(" 1.00 |")
    assert len({row.count("|") for row in rows}) == 1
