"""visibility.lua: messages are hidden when they are handed out, and shown again."""

from tests.lua.quest import START_MS, VT, Quest, failing


def test_delay(quest: Quest) -> None:
    """A delayed message is visible when its delay is over, not a ms earlier."""
    quest.create(DelaySeconds=1)
    quest.send("own", delay_ms=30)
    quest.send("the queue's")
    quest.advance(29)
    assert quest.bodies() == []
    quest.advance(1)
    assert quest.bodies() == ["own"]
    quest.advance(969)
    assert quest.bodies(10, 5000) == ["own"]
    quest.advance(1)
    assert quest.bodies(10, 5000) == ["the queue's"]


def test_receive_hides(quest: Quest) -> None:
    """A received message is hidden until its timeout is over, then it comes again with a count and its first time."""
    quest.create()
    quest.send("a")
    quest.advance(7)
    [first] = quest.receive()
    assert (first.count, first.first_ms) == (1, START_MS + 7)
    quest.advance(VT - 1)
    assert quest.receive() == []
    quest.advance(1)
    [second] = quest.receive()
    assert (second.count, second.first_ms) == (2, START_MS + 7)
    assert (second.record, second.handle == first.handle) == (first.record, False)


def test_hide_and_show_leaves_one_entry(quest: Quest) -> None:
    """A message that is hidden and shown a thousand times has one entry in the list of visible ones."""
    [held] = quest.received("a")
    for _ in range(1000):
        quest.change(held, 5)
        quest.change(held, 0)
    assert quest.entries() == 1
    assert quest.counts() == (1, 0, 0)
    assert len(quest.receive(10)) == 1


def test_change_visibility_to_0(quest: Quest) -> None:
    """Timeout 0 shows a message at once."""
    [held] = quest.received("a")
    assert quest.change(held, 0) == "OK"
    assert quest.counts() == (1, 0, 0)
    assert quest.receive(1)[0].count == 2


def test_change_visibility_of_what_timed_out(quest: Quest) -> None:
    """A message that timed out and was not received again is hidden for the new time (contract 2.13)."""
    a, b = quest.received("a", "b")
    quest.advance(VT)
    quest.change(a, VT)
    quest.tick()
    quest.change(b, VT)
    assert quest.counts() == (0, 2, 0)
    assert quest.receive() == []
    quest.advance(VT)
    assert sorted(quest.bodies()) == ["a", "b"]


def test_hidden_by_an_old_handle_is_in_flight(quest: Quest) -> None:
    """What was visible again and is hidden by its old handle counts among those that may be in flight, at once."""
    quest.create()
    quest.send("a", "b", "c")
    [old] = quest.receive(1)
    quest.advance(1000)
    quest.tick()
    assert len(quest.receive(1, 60_000)) == 1
    assert quest.change(old, 60_000) == "OK"
    assert quest.counts() == (1, 2, 0)
    with failing("TooManyInFlight"):
        quest.ask("quest_receive", "orders", 1, VT, "", 2, "", "", 0, 0, 1)
