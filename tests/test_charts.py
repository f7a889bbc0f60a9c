"""Charts: where their lines are."""

import pytest

from questd.charts import SPARK_POINTS, WIDTH, chart, path, rounded, spark


@pytest.mark.parametrize(("value", "wanted"), [(0, 1), (0.3, 1), (1, 1), (3, 5), (10, 10), (11, 20), (6000, 10_000)])
def test_the_upper_edge_is_a_round_number(value: float, wanted: float) -> None:
    """An axis ends with 1, 2 or 5 times a power of ten, at least at the highest value."""
    assert rounded(value) == wanted


def test_a_line_holds_its_value_until_the_next() -> None:
    """A line goes in steps from when it begins to the right edge: an hour ago is at the left, now at the right."""
    points = [(1000.0, 0.0), (2800.0, 10.0)]
    assert path(points, 4600.0, 10, (600, 102)) == "M0.0 101.0H300.0V1.0H600"
    assert path([], 0, 1, (600, 100)) == ""


def test_chart() -> None:
    """All lines of a chart have one scale, and say what is and what was at most."""
    shown = chart("Messages", {"visible": [(0, 7), (10, 3)], "delayed": []}, 20)
    assert shown.top == 10
    visible, delayed = shown.lines
    assert (visible.label, visible.now, visible.peak) == ("visible", 3, 7)
    assert visible.path.endswith(f"H{WIDTH}")
    assert (delayed.now, delayed.peak, delayed.path) == (0, 0, "")


def test_spark_has_few_points() -> None:
    """A small line does not draw an hour's samples one by one."""
    assert spark([(i, i % 7) for i in range(360)], 360).count("V") < SPARK_POINTS + 10
    assert spark([], 0) == ""
