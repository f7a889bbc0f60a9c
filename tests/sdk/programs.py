"""Programs on real SDKs: what they need is installed once, outside the checkout, and they print what they saw as JSON."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "questd-tests"
INSTALL_SECONDS = 600
ID, SECRET = "AKIDEXAMPLE", "a-secret-of-some-length"
"""The access key that programs have to sign with."""
RUN_SECONDS = 60

SEEN = {
    "body": True,
    "blob": "00ff",
    "count": "3",
    "received": "1",
    "batch": 10,
    "polled": "late",
    "error": "QueueDoesNotExist",
    "tags": {"team": "a"},
    "queues": 2,
    "fifo": ["a", "b"],
    "sequence": 20,
}
"""What every program sees when it goes through the life of two queues; each is written in its SDK's own manner."""


def venv(*packages: str) -> list[list[str]]:
    """Return the commands that make a virtual environment with packages, as pip is told them."""
    install = ["bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    return [[sys.executable, "-m", "venv", "."], install]


def prepared(name: str, tools: Sequence[str], commands: Sequence[Sequence[str]], *, where: Path = HERE) -> Path:
    """Return a directory with the files of `name` where the commands have been run: once for these files and commands.

    Skips the test where a tool is missing, or where its packages cannot be had; the summary says which.
    """
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")
    # In place of the checkout's own Python the one that it was made of: what is installed serves every checkout.
    told = repr((commands, sys.version_info[:2])).replace(sys.executable, sys.base_prefix)
    digest = hashlib.sha256(told.encode())
    files = sorted(path for path in (where / name).rglob("*") if path.is_file() and path.suffix != ".pyc")
    for file in files:
        digest.update(file.read_bytes())
    directory = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / ".done").exists():
            shutil.copytree(where / name, directory, dirs_exist_ok=True)
            for command in commands:
                _install(command, directory)
            (directory / ".done").touch()
    return directory


def _install(command: Sequence[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        failure = done.returncode and f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    except subprocess.TimeoutExpired:
        failure = f"nothing after {INSTALL_SECONDS} s"
    if failure:
        pytest.skip(f"{' '.join(command)}: {failure}")


def environment(url: str) -> dict[str, str]:
    """Return the variables that a program runs with: the endpoint, and an access key."""
    return {
        **os.environ,
        "QUESTD_URL": url,
        "AWS_ACCESS_KEY_ID": ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def seen(command: Sequence[str], directory: Path, url: str) -> Any:
    """Run a program and return what it printed."""
    done = subprocess.run(
        command, cwd=directory, env=environment(url), capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)
