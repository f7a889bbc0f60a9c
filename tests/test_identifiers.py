"""Random identifiers."""

import os
import uuid

from questd.identifiers import as_text, new_id, new_request_id


def test_they_are_version_4_uuids() -> None:
    """Every identifier is another version 4 UUID, also across the end of the buffer."""
    texts = {as_text(new_id()) for _ in range(1000)} | {new_request_id() for _ in range(1000)}
    assert len(texts) == 2000
    assert all(uuid.UUID(text).version == 4 and uuid.UUID(text).variant == uuid.RFC_4122 for text in texts)


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
