"""Random identifiers."""

import os
import uuid

from questd.identifiers import as_text, as_texts, new_id, new_ids, new_request_id


def test_they_are_version_4_uuids() -> None:
    """Every identifier is another version 4 UUID, also across the end of the buffer."""
    several = [each for _ in range(100) for each in new_ids(10)]
    texts = {as_text(raw) for raw in [new_id() for _ in range(1000)] + several} | {
        new_request_id() for _ in range(1000)
    }
    assert len(texts) == 3000
    assert all(uuid.UUID(text).version == 4 and uuid.UUID(text).variant == uuid.RFC_4122 for text in texts)


def test_the_text_is_the_usual_one() -> None:
    """The text of 16 bytes is as the standard library has it, made alone or with others."""
    raws = [bytes(16), bytes(range(16)), b"\xff" * 16, *new_ids(7)]
    usual = [str(uuid.UUID(bytes=raw)) for raw in raws]
    assert [as_text(raw) for raw in raws] == usual
    assert [as_texts(raws[:count]) for count in range(1, 11)] == [usual[:count] for count in range(1, 11)]


def test_a_forked_process_has_others() -> None:
    """A worker does not repeat the identifiers of the process it was forked from."""
    new_id()
    ours = new_request_id()[:28].encode()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id() + new_request_id()[:28].encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 100)
    assert theirs[:16] != new_id()
    assert theirs[16:] != ours
    os.close(reader)
    os.close(writer)
