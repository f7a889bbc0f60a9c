"""The TOML that is made of another server's configuration: what goes in is right, or a comment says why not."""

import tomllib

from questd.draft import Draft


def test_settings_and_queues() -> None:
    """Settings come first, then a table for each queue; what questd takes, it gets as it is."""
    draft = Draft("a.conf")
    draft.set("port", 9999)
    queue = draft.queue("orders.fifo")
    queue.set("VisibilityTimeout", 10)
    queue.set("ContentBasedDeduplication", True)  # noqa: FBT003  # a value
    queue.tag({"team": "shop", "number": 3})
    assert tomllib.loads(draft.text()) == {
        "port": 9999,
        "queues": {
            "orders.fifo": {
                "VisibilityTimeout": 10,
                "ContentBasedDeduplication": True,
                "tags": {"team": "shop", "number": "3"},
            }
        },
    }


def test_what_is_refused_is_a_comment() -> None:
    """A value, a tag or a name that questd refuses is a comment with the reason, beside the queue it is about."""
    draft = Draft("a.conf")
    draft.set("port", 70000)
    draft.queue("or ders").set("VisibilityTimeout", 10)
    queue = draft.queue("orders")
    queue.set("VisibilityTimeout", 43201)
    queue.set("Colour", "red")
    queue.tag({"aws:x": "y"})
    text = draft.text()
    assert tomllib.loads(text) == {"queues": {"orders": {}}}
    above, _, below = text.partition("\n\n")
    assert "# not carried over: port = 70000, because it should be less than or equal to 65535\n" in above
    assert '# not carried over: the queue = "or ders", because a name has' in above
    assert "# not carried over: VisibilityTimeout = 43201, because SQS says: Invalid value" in below
    assert '# not carried over: Colour = "red", because SQS says: Unknown Attribute' in below
    assert '# not carried over: the tag aws:x = "y", because SQS says: ' in below


def test_a_comment_stays_one() -> None:
    """What another file says cannot leave its comment, and no table is shown: it may hold a password."""
    draft = Draft("a.conf")
    draft.say("one\nport = 1")
    draft.lose("x", "\nport = 1\r\u2028port = 1", "why\nport = 1")
    draft.lose("storage", {"password": "secret"}, "why")
    assert tomllib.loads(draft.text()) == {}
    assert "secret" not in draft.text()


def test_dead_letter_queues() -> None:
    """A dead-letter queue is found by the name the other server has for it, and made where only its source names it."""
    draft = Draft("a.conf")
    draft.queue("dead.fifo")
    for name, dead, tries in [
        ("a.fifo", "dead", 3),
        ("b", "nowhere", "4"),
        ("c", "dead.fifo", 1),
        ("d", "dead d", 1),
        ("e", "b", 1001),
        ("f", "b", None),
    ]:
        draft.queue(name).dead = (dead, tries)
    text = draft.text()
    assert tomllib.loads(text)["queues"] == {
        "dead.fifo": {},
        "a.fifo": {"dead_letter_queue": "dead.fifo", "max_receive_count": 3},
        "b": {"dead_letter_queue": "nowhere", "max_receive_count": 4},
        "c": {},
        "d": {},
        "e": {},
        "f": {},
        "nowhere": {},
    }
    assert text.count("# not carried over: the dead-letter queue = ") == 4
    assert "# named only as the dead-letter queue of b\n[queues.nowhere]" in text
