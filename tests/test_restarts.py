"""Restarts: at once after a calm life, ever later after short ones."""

from questd import restarts
from questd.restarts import Restarts
from tests.waiting import until


def test_restarts_slow_down() -> None:
    """What dies again and again is started after 0.1 s, 0.2 s and so on up to 5 s, and after 0.1 s once it was calm."""
    one = Restarts()
    assert not one.start()
    delays = []
    for _ in range(8):
        one.died()
        delays.append(one.delay)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert not one.start()
    one.started -= restarts.CALM + 1
    one.died()
    assert one.delay == 0.1
    until(one.start, 1)
    assert not one.start()
