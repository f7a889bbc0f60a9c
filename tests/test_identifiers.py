"""Random identifiers."""

import os
import uuid

from questd.identifiers import as_text, new_id


def test_they_are_version_4_uuids() -> None:
    """Every identifier is another version 4 UUID, also across the end of the buffer."""
    texts = {as_text(new_id()) for _ in range(1000)}
    assert len(texts) == 1000
    assert all(uuid.UUID(text).version == 4 and uuid.UUID(text).variant == uuid.RFC_4122 for text in texts)


def test_a_forked_process_has_others() -> None:
    """A worker does not repeat the identifiers of the process it was forked from."""
    new_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 16) != new_id()
    os.close(reader)
    os.close(writer)
