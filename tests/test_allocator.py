"""The memory allocator that a private server gets, if it was built without one of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from questd import allocator
from questd.settings import Settings
from tests.servers import BUNDLED
from tests.test_embedded import started

ROOT = Path(allocator.__file__).parent.parent

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not BUNDLED, reason="the library comes with the bundled server for Linux"
)


def test_the_bundled_server_runs_on_it() -> None:
    """The bundled server has mimalloc in its memory, without huge pages; its guard, a Python, has not."""
    with started(Settings(ephemeral=True)) as (private, client):
        assert private.server.allocator == allocator.OF_THE_C_LIBRARY
        assert private._guard
        process = Path(f"/proc/{client.info('server')['process_id']}")
        assert "/libmimalloc.so" in (process / "maps").read_text()
        assert "THP_enabled:\t0" in (process / "status").read_text()
        assert "/libmimalloc.so" not in Path(f"/proc/{private._guard.pid}/maps").read_text()
        assert "ld.so" not in private.last_words()


def test_one_with_its_own_keeps_it() -> None:
    """A server that was built with jemalloc, as Redis and the distributions' packages are, is left alone."""
    assert allocator.prefix("jemalloc") == []
    assert allocator.prefix("") == []


def test_what_the_user_loads_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """LD_PRELOAD of questd's own environment stays, before ours: an allocator there is the one that is used."""
    monkeypatch.setenv("LD_PRELOAD", "/a/libjemalloc.so")
    _, loaded, *_ = allocator.prefix(allocator.OF_THE_C_LIBRARY)
    assert loaded.startswith("LD_PRELOAD=/a/libjemalloc.so /")
    assert loaded.endswith("/libmimalloc.so")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library is not installed, or lies where the loader cannot be told of it, the server starts without."""
    asked = "import sys; sys.path.append(sys.argv[1]); from questd import allocator; print(allocator.prefix('libc'))"
    command = [sys.executable, "-I", "-S", "-c", asked, str(ROOT)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
    for name in ("missing.so", "a b.so", "a:b.so", "$LIB.so"):
        if name != "missing.so":
            (tmp_path / name).touch()
        monkeypatch.setattr(allocator, "LIBRARY", str(tmp_path / name))
        assert allocator.prefix(allocator.OF_THE_C_LIBRARY) == []
