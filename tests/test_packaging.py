"""What is around the code: the wheel, the Makefile, the container files and what the repository may hold."""

import asyncio
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from questd import promises
from questd.settings import Settings, read, variable
from tests.client import serving
from tests.servers import running
from tests.test_port import certify

ROOT = Path(__file__).parent.parent

REGISTRY = re.compile(
    r"index[-_]url|find[-_]links|trusted[-_]host|//[\w.-]*(pypi|pythonhosted|npmjs|debian)\.(org|com|net)",
    re.IGNORECASE,
)
"""An address that packages come from, or the setting of one."""


@pytest.fixture
def make(tmp_path: Path) -> Path:
    """Give a directory with the Makefile and nothing installed."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def refused(directory: Path, *arguments: str, **variables: str) -> str:
    """Return the one line that `make start` says, before make's own, when it cannot start."""
    command = ["make", "--no-print-directory", "start", *arguments]
    environment = {"PATH": str(Path(shutil.which("make") or "").parent) + ":/usr/bin:/bin", **variables}
    made = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 2
    line, makes_own = (made.stdout + made.stderr).splitlines()
    assert makes_own.startswith("make: *** ")
    assert not (directory / ".venv").exists()
    return line


def tracked() -> list[Path]:
    """Return the files that git keeps."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if (path := ROOT / name).is_file()]


def setuptools_is_here() -> bool:
    """Tell whether this environment can build as pyproject.toml wishes; pip brings setuptools for a build otherwise."""
    try:
        return int(metadata.version("setuptools").partition(".")[0]) >= 77
    except metadata.PackageNotFoundError:
        return False


def test_the_wheel_holds_the_package(tmp_path: Path) -> None:
    """The wheel carries every file of the package, the Lua files and py.typed among them, and the command questd."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "questd", tmp_path / "questd", ignore=shutil.ignore_patterns("__pycache__"))
    files = {str(path.relative_to(tmp_path)) for path in (tmp_path / "questd").rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    isolation = ["--no-build-isolation"] if setuptools_is_here() else []
    subprocess.run([*command, *isolation], cwd=tmp_path, check=True)
    [wheel] = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        [scripts] = [archive.read(name).decode() for name in held if name.endswith("/entry_points.txt")]
    assert {name for name in held if ".dist-info/" not in name} == files
    assert {"questd/lua/quest.lua", "questd/py.typed"} < files
    assert "questd = questd.__main__:main" in scripts


def test_make_help_names_every_target(make: Path) -> None:
    """`make help` shows what each target does."""
    [targets] = re.findall(r"^\.PHONY: (.*)$", (make / "Makefile").read_text(), re.MULTILINE)
    shown = subprocess.run(["make", "help"], cwd=make, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^(\w+) +\w", shown, re.MULTILINE)) == set(targets.split())


def test_make_start_without_venv(make: Path) -> None:
    """Where Python lacks what python3-venv brings, `make start` says what to install and leaves nothing behind."""
    (make / "ensurepip.py").write_text("raise ImportError")
    line = refused(make, f"PYTHON={sys.executable}", PYTHONPATH=str(make))
    assert line.endswith("apt-get install python3-venv")


def test_make_start_without_python(make: Path) -> None:
    """Where there is no Python, `make start` says which one it needs."""
    line = refused(make, "PYTHON=no-such-python")
    assert line.startswith("questd needs Python 3.11 or newer, and no-such-python is missing: install one")


def test_make_start_with_an_old_python(make: Path) -> None:
    """Where Python is too old, `make start` says so, and how to choose another."""
    old = make / "old"
    old.write_text('#!/bin/sh\ntest "$1" = --version && echo Python 3.9.6')
    old.chmod(0o755)
    line = refused(make, "PYTHON=./old")
    assert "./old is Python 3.9.6" in line
    assert line.endswith("make start PYTHON=python3.13")


@pytest.mark.parametrize(("asked", "made"), [("", ""), ("./same", ""), ("./another", "-m venv --clear .venv")])
def test_make_with_another_python(make: Path, asked: str, made: str) -> None:
    """`make` makes .venv anew where it is asked for another Python than .venv has, and only there."""
    (make / ".venv" / "bin").mkdir(parents=True)
    for name, version in (("same", "3.11.7"), (".venv/bin/python", "3.11.7"), ("another", "3.13.0")):
        python = make / name
        python.write_text(f'#!/bin/sh\ntest "$*" = --version && echo Python {version} || echo "$*" >> "$0.asked"')
        python.chmod(0o755)
    (make / ".venv" / "dev").touch()
    command = ["make", ".venv/dev", *([f"PYTHON={asked}"] if asked else [])]
    subprocess.run(command, cwd=make, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    done = "".join(path.read_text() for path in make.rglob("*.asked"))
    assert made in done
    assert bool(made) == bool(done)


@pytest.mark.parametrize("file", ["Dockerfile", "docker-compose.yml"])
def test_variables_of_the_containers_are_settings(file: str) -> None:
    """Every QUESTD_ variable in the container files is a setting: questd only warns of one that is none."""
    named = set(re.findall(r"QUESTD_\w+", (ROOT / file).read_text()))
    assert named
    assert named <= {variable(name) for name in Settings.model_fields}


def test_where_the_image_keeps_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image keeps messages in its volume, or, as docker-compose.yml has it, in the Redis of QUESTD_REDIS_URL."""
    for name in [name for name in os.environ if name.startswith("QUESTD_")]:
        monkeypatch.delenv(name)
    text = (ROOT / "Dockerfile").read_text()
    for name, value in re.findall(r"^    ([A-Z_]+)=(\S+)", text, re.MULTILINE):
        monkeypatch.setenv(name, value)
    [volume] = re.findall(r"^VOLUME (\S+)", text, re.MULTILINE)
    assert Path(volume) in read({}).data_dir.parents
    [url] = re.findall(r"QUESTD_REDIS_URL: (\S+)", (ROOT / "docker-compose.yml").read_text())
    monkeypatch.setenv("QUESTD_REDIS_URL", url)
    promises.check(read({}))


@pytest.mark.parametrize("secure", [False, True])
async def test_the_images_health_check(tmp_path: Path, *, secure: bool) -> None:
    """The image's health check says that questd is healthy, also when it serves HTTPS, and not without its Redis."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    _python, *arguments = json.loads(re.findall("HEALTHCHECK .* CMD (.*)", text)[0])
    certificate = certify(tmp_path) if secure else {}

    async def is_healthy(url: str) -> bool:
        port = {"QUESTD_PORT": url.rpartition(":")[2], "http_proxy": "http://127.0.0.1:1"}
        given = os.environ | port | {variable(name): str(path) for name, path in certificate.items()}
        check = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=given, stderr=subprocess.DEVNULL)
        return await check.wait() == 0

    with running() as redis:
        async with serving(redis.url, **certificate) as sqs:
            assert await is_healthy(sqs.url)
            redis.stop()
            assert not await is_healthy(sqs.url)


def test_compose_stays_on_this_machine() -> None:
    """Since it serves anyone, docker-compose.yml publishes its ports on the loopback address and nowhere else."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert 'QUESTD_ANONYMOUS: "true"' in text
    published = re.findall(r'- "(\S+):(\d+):\d+"', "".join(re.findall(r"ports:\n((?: +- .*\n)+)", text)))
    assert published == [("127.0.0.1", "9324"), ("127.0.0.1", "9325"), ("127.0.0.1", "3000")]


def test_files_of_compose_are_here() -> None:
    """Every file of the repository that docker-compose.yml mounts is there."""
    mounted = re.findall(r"- \./(\S+?):", (ROOT / "docker-compose.yml").read_text())
    assert mounted
    assert [name for name in mounted if not (ROOT / name).is_file()] == []


def test_no_file_names_a_registry() -> None:
    """Packages come from where the machine says: no file of the repository names a registry."""
    for path in tracked():
        found = REGISTRY.search(path.read_text(errors="replace"))
        assert found is None, f"{path}: {found}"


@pytest.mark.parametrize("extra", [None, "dev", "import", "mirror", "testing"])
def test_dependencies_are_bounded(extra: str | None) -> None:
    """Each dependency has a version above which it was not tried, and a reason beside it."""
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    for each in project["optional-dependencies"][extra] if extra else project["dependencies"]:
        if not each.startswith("questd["):  # an extra of our own has none
            assert re.search("<|==", each.partition(";")[0]), each
        for before, after in itertools.pairwise(text.split(f'"{each}"')):
            reasons = (", # ", ",  ", "] # ")
            assert after.startswith(reasons) or before.splitlines()[-2].strip().startswith("# "), each


def test_no_file_is_large() -> None:
    """No file of the repository is over 1 MB."""
    assert {path.name: size for path in tracked() if (size := path.stat().st_size) > 1_000_000} == {}
