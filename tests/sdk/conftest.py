"""What every SDK's test needs: a process of questd, which takes signed requests only."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.sdk.programs import ID, SECRET
from tests.servers import RedisServer


@pytest.fixture
def questd_url(redis_server: RedisServer) -> Iterator[str]:
    """Run a questd process; its URL."""
    command = [sys.executable, "-m", "questd", "serve", "--port", "0", "--redis-url", redis_server.url]
    keys = {**os.environ, "QUESTD_KEYS": f"{ID}:{SECRET}"}
    process = subprocess.Popen(command, env=keys, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found
    yield found[0]
    process.terminate()
    process.stdout.close()
    process.wait()
