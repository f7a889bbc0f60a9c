"""Where questd may listen, and how it says why it cannot."""

import pytest

from questd.embedded import StartFailed
from questd.port import bind
from questd.settings import Settings
from tests.servers import free_port


def test_a_port_is_taken_once() -> None:
    """A second questd on a port is refused with a line that names the port, also before the first serves."""
    settings = Settings(port=free_port())
    with bind(settings), pytest.raises(StartFailed, match=f"port {settings.port}: Address already in use.*--port"):
        bind(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_needs_no_leave(host: str) -> None:
    """On an address of this machine only, questd listens without more."""
    with bind(Settings(host=host, port=0)) as sock:
        assert sock.getsockname()[1] > 0


def test_a_public_address_needs_leave() -> None:
    """Beyond this machine questd listens only when that is spelt out."""
    with pytest.raises(StartFailed, match="--anonymous"):
        bind(Settings(host="0.0.0.0", port=0))
    with bind(Settings(host="0.0.0.0", port=0, anonymous=True)) as sock:
        assert sock.getsockname()[0] == "0.0.0.0"


def test_an_unknown_host() -> None:
    """A host that is none of this machine's is told in one line."""
    with pytest.raises(StartFailed, match=r"^cannot listen on 192\.0\.2\.1, port 0: "):
        bind(Settings(host="192.0.2.1", port=0, anonymous=True))
    with pytest.raises(StartFailed, match=r"^cannot listen on no\.such\.host\.invalid: "):
        bind(Settings(host="no.such.host.invalid", port=0))
