"""messages.lua: what a receipt handle proves, and what an old one may still do."""

import pytest

from tests.lua.quest import VT, Message, Quest


def _received_twice(quest: Quest) -> tuple[Message, Message]:
    """Return the deliveries of a message that timed out and was received again."""
    [first] = quest.received("a")
    quest.advance(VT)
    [second] = quest.receive()
    return first, second


def test_old_handle_deletes_nothing(quest: Quest) -> None:
    """A handle of an earlier delivery answers OK and does not delete (contract 2.11)."""
    first, second = _received_twice(quest)
    assert quest.delete(first) == ["OK"]
    assert quest.counts() == (0, 1, 0)
    assert quest.delete(first, second) == ["OK", "OK"]
    assert quest.counts() == (0, 0, 0)


def test_old_handle_changes_visibility(quest: Quest) -> None:
    """A handle of an earlier delivery hides and shows the message (contract 2.13)."""
    first, _ = _received_twice(quest)
    assert quest.change(first, 0) == "OK"
    assert quest.counts() == (1, 0, 0)
    assert quest.change(first, VT) == "OK"
    assert quest.counts() == (0, 1, 0)


def test_handle_of_a_deleted_message(quest: Quest) -> None:
    """A message that is gone can be deleted again but not hidden."""
    [held] = quest.received("a")
    quest.delete(held)
    assert quest.change(held, 5) == "MessageNotAvailable"
    assert quest.delete(held) == ["OK"]
    assert quest.counts() == (0, 0, 0)


def test_handle_of_another_queue(quest: Quest) -> None:
    """A handle of another queue is told apart from one that is no handle."""
    quest.create("other")
    quest.send("b", queue="other")
    [elsewhere] = quest.receive(queue="other")
    quest.received("a")
    assert quest.delete(elsewhere) == ["ReceiptHandleOfAnotherQueue"]
    assert quest.change(elsewhere, 5) == "ReceiptHandleOfAnotherQueue"
    assert quest.give_back(elsewhere) == 0
    assert quest.counts() == (0, 1, 0)


def test_handle_of_an_earlier_queue_of_the_name(quest: Quest) -> None:
    """A handle of a queue that was deleted does nothing in the next one of its name."""
    [held] = quest.received("a")
    quest.call("quest_delete_queue", "orders")
    quest.received("b")
    assert quest.delete(held) == ["ReceiptHandleOfAnotherQueue"]
    assert quest.counts() == (0, 1, 0)


@pytest.mark.parametrize(
    "handle",
    ["", "garbage", "a-1-1-1-b", "-----", "{i}-1-1-1", "{i}-1-1-1-zz", "{i}-1-1-1-00000000000000000000", "é\0"],
)
def test_no_handle(quest: Quest, handle: str) -> None:
    """What the queue never gave is no handle, whatever it looks like."""
    quest.received("a")
    incarnation = quest.field("orders", "incarnation") or ""
    invalid = "ReceiptHandleOfAnotherQueue" if handle.startswith("a-") else "ReceiptHandleIsInvalid"
    assert quest.delete(handle.replace("{i}", incarnation)) == [invalid]
    assert quest.change(handle.replace("{i}", incarnation), 5) == invalid
    assert quest.counts() == (0, 1, 0)


@pytest.mark.parametrize("part", [1, 2, 3, 4])
def test_forged_handle(quest: Quest, part: int) -> None:
    """A handle in which the sequence, the count, the time or the proof was changed is none."""
    quest.create()
    quest.send("a", "b")
    held = quest.receive()[0]
    parts = held.handle.split("-")
    parts[part] = parts[part][:-1] + ("1" if parts[part][-1] != "1" else "2")
    assert quest.delete("-".join(parts)) == ["ReceiptHandleIsInvalid"]
    assert quest.change("-".join(parts), 0) == "ReceiptHandleIsInvalid"
    assert quest.counts() == (0, 2, 0)


def test_batch_of_good_and_bad(quest: Quest) -> None:
    """Each handle of a batch has its own outcome."""
    quest.create("other")
    quest.send("c", queue="other")
    [elsewhere] = quest.receive(queue="other")
    a, b = quest.received("a", "b")
    assert quest.delete(a, "garbage", elsewhere, b) == [
        "OK",
        "ReceiptHandleIsInvalid",
        "ReceiptHandleOfAnotherQueue",
        "OK",
    ]
    assert quest.counts() == (0, 0, 0)


def test_handle_of_what_was_given_back(quest: Quest) -> None:
    """A handle whose delivery was given back is that of no delivery: it neither deletes nor hides."""
    [held] = quest.received("a")
    quest.give_back(held)
    assert quest.change(held, 5) == "MessageNotAvailable"
    assert quest.delete(held) == ["OK"]
    assert quest.counts() == (1, 0, 0)
    quest.advance(1)
    quest.receive()
    assert quest.delete(held) == ["OK"]
    assert quest.counts() == (0, 1, 0)


def test_first_handle_after_the_second_was_given_back(quest: Quest) -> None:
    """Giving back the second delivery does not make the first handle delete again; it still hides."""
    first, second = _received_twice(quest)
    quest.give_back(second)
    assert quest.delete(first, second) == ["OK", "OK"]
    assert quest.counts() == (1, 0, 0)
    assert quest.change(first, VT) == "OK"
    assert quest.counts() == (0, 1, 0)


def test_visibility_0_makes_new_handles(quest: Quest) -> None:
    """Two receives within one ms give two handles, of which the later deletes."""
    quest.create()
    quest.send("a")
    [first], [second] = quest.receive(1, 0), quest.receive(1, 0)
    assert quest.delete(first) == ["OK"]
    assert quest.counts() == (1, 0, 0)
    assert quest.delete(second) == ["OK"]
    assert quest.counts() == (0, 0, 0)
