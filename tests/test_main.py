"""The command line: what it teaches, and the one line that it says when something is wrong."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from questd.__main__ import main
from questd.settings import Settings
from tests.servers import DEFAULT, RedisServer, free_port, running

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("QUESTD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("QUESTD_CONSOLE_PORT", "off")
    root = logging.getLogger()  # serve sets it up: later tests have it as it was
    monkeypatch.setattr(root, "handlers", root.handlers)
    monkeypatch.setattr(root, "level", root.level)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line on standard error of a questd that ends with status 1 and says nothing else."""
    assert main(arguments) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("questd: ")
    assert errors.count("\n") == 1
    return errors


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "questd", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def test_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the help lists the commands."""
    assert main([]) == 2
    shown = capsys.readouterr().err
    assert all(f"    {name} " in shown for name in ("serve", "load", "unload", "backup", "restore"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version names the program."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("questd ")


def test_help_of_serve(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of serve shows every setting: its flag, its variable and its meaning."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["serve", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in words
        assert f"QUESTD_{name.upper()}" in words
        assert str(field.description) in words


@pytest.mark.parametrize("command", ["serve", "check", "import", "load", "unload", "backup", "restore"])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """The help of a command shows how it is used."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main([command, "--help"])
    assert f"\n  questd {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serve", "--prot", "1"], "questd: unrecognized arguments: --prot 1 (see questd serve --help)\n"),
        (["--prot", "serve"], "questd: unrecognized arguments: --prot (see questd --help)\n"),
        (["serve", "--port"], "questd: argument --port: expected one argument (see questd serve --help)\n"),
        (["load", "redis://u:p@h"], "questd: unrecognized arguments: redis://***@h (see questd load --help)\n"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    """Wrong usage is one line and status 2, and does not repeat a password."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    assert capsys.readouterr().err == line


def test_a_bad_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """A bad value of a flag is told by the name of the flag."""
    assert said(capsys, "serve", "--port", "x").startswith("questd: --port should be a valid integer")


def test_a_bad_variable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad value of a variable is told by the name of the variable."""
    monkeypatch.setenv("QUESTD_WORKERS", "none")
    assert said(capsys, "serve").startswith("questd: QUESTD_WORKERS should be a valid integer")


def test_a_bad_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An unknown key in the file is told by its name and the file's."""
    file = tmp_path / "questd.toml"
    file.write_text("redis-url = 'redis://me:secret@host'")
    line = f"questd: redis-url in {file} is no setting (did you mean redis_url?)\n"
    assert said(capsys, "serve", "--config", str(file)) == line


def test_an_unknown_variable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A QUESTD_ variable that is no setting is named, and the command goes on."""
    monkeypatch.setenv("QUESTD_PROT", "1")
    assert main(["load", "--print"]) == 0
    assert capsys.readouterr().err == "questd: QUESTD_PROT is no setting, it is ignored\n"


def test_a_taken_port(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is in use is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = said(capsys, "serve", "--port", port)
    assert f"port {port}: Address already in use" in line
    assert "--port" in line


def test_a_taken_console_port(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """So is the console's; the line names its own setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("QUESTD_CONSOLE_PORT", port)
        line = said(capsys, "serve", "--port", "0")
    assert f"port {port}: Address already in use. Choose another --console-port, or stop" in line


@pytest.mark.parametrize("command", ["serve", "check"])
def test_one_port_for_two(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One port for queues and console is neither served nor found right."""
    assert main([command, "--port", "9400", "--console-port", "9400"]) == 1
    assert "--port and --console-port are both 9400" in "".join(capsys.readouterr())


def test_a_public_address(capsys: pytest.CaptureFixture[str]) -> None:
    """An address beyond this machine is refused, with the flag that allows it."""
    assert "--anonymous" in said(capsys, "serve", "--host", "0.0.0.0", "--port", "0")


def test_keys_that_others_can_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file of secrets that others can read is refused, with what to do."""
    file = tmp_path / "keys.toml"
    file.write_text("")
    file.chmod(0o644)
    assert f"chmod 600 {file}" in said(capsys, "serve", "--keys-file", str(file))


def test_secrets_on_a_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys among the arguments bring a warning: everybody on the machine can see them there."""
    assert main(["serve", "--keys", "A:a secret of some length", "--host", "192.0.2.1", "--port", "0"]) == 1
    warning, refusal = capsys.readouterr().err.splitlines()
    assert "use --keys-file or QUESTD_KEYS" in warning
    assert "cannot listen" in refusal
    assert "a secret" not in warning + refusal


def test_a_password_on_a_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """So does the password of a Redis; a URL without one brings none."""
    url = f"127.0.0.1:{free_port()}"
    for given in (f"redis://me:secret@{url}", f"redis://{url}?password=secret"):
        assert main(["load", "--redis-url", given]) == 1
        warning, refusal = capsys.readouterr().err.splitlines()
        assert "the secrets of --redis-url can be seen by everybody" in warning
        assert "use --config or QUESTD_REDIS_URL" in warning
        assert "secret@" not in warning + refusal
        assert "=secret" not in warning + refusal
    said(capsys, "load", "--redis-url", f"redis://{url}")


def refused(monkeypatch: pytest.MonkeyPatch, url: str, said: str) -> None:
    """Check that serve, load and unload say in one line what is wrong with the Redis at a URL."""
    monkeypatch.setenv("QUESTD_REDIS_URL", url)
    for command in (["serve", "--port", "0"], ["load"], ["unload"]):
        result = run(*command)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(f"questd: {said}: ")
        assert result.stderr.count("\n") == 1


def test_no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that cannot be reached is one line from serve, load and unload, without its password."""
    place = f"127.0.0.1:{free_port()}"
    refused(monkeypatch, f"redis://me:secret@{place}", f"no Redis at redis://***@{place}")


def test_a_redis_without_tls(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis without TLS that the URL asks for is one line from serve, load and unload that says so."""
    url = redis_server.url.replace("redis", "rediss")
    refused(monkeypatch, url, f"{url}: a server answers, but without TLS, which rediss:// asks for")


def test_a_redis_that_says_no(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that refuses the password is not said to be missing, by unload neither."""
    place = f"127.0.0.1:{redis_server.port}"
    refused(monkeypatch, f"redis://me:secret@{place}", f"redis://***@{place}: Redis answered")


def test_streams_that_are_closed(redis_server: RedisServer) -> None:
    """Where a stream is closed, a command does what it is to do, and says nothing of it."""
    command = f"{sys.executable} -m questd load --redis-url {redis_server.url}"
    for closed in (">&-", "<&- >&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f"{command} {closed}"], capture_output=True, text=True, timeout=20, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full(redis_server: RedisServer) -> None:
    """What cannot be written is one line and status 1."""
    command = f"{sys.executable} -m questd load --redis-url {redis_server.url} > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=False)
    line = "questd: what was found cannot be written: No space left on device\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_an_old_redis() -> None:
    """A Redis older than 7 is told apart from one that cannot be reached."""

    def answer(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                connection, _ = listener.accept()
                with connection:
                    while request := connection.recv(65536).upper():
                        text = b"redis_version:6.2.14\r\n"
                        told = b"$%d\r\n%s\r\n" % (len(text), text)
                        reply = told if b"INFO\r\n" in request.split(b"SETINFO")[-1] else b""
                        connection.sendall(b"+OK\r\n" * request.count(b"SETINFO") + reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        result = run("serve", "--port", "0", "--redis-url", f"redis://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)  # ends the waiting for another connection
        thread.join()
    assert result.returncode == 1
    assert "6.2.14" in result.stderr
    assert result.stderr.count("\n") == 1


def test_load_and_unload() -> None:
    """The library is put into a Redis, again without harm, and taken out of it again; both say where."""
    with running(DEFAULT) as server, server.client() as client:
        for _ in range(2):
            result = run("load", "--redis-url", server.url)
            assert result.stdout == f"questd: the library is loaded into {server.url}\n", result.stderr
            assert client.execute_command("FCALL", "quest_version", 0)
        result = run("unload", "--redis-url", server.url)
        assert result.stdout == f"questd: no library any more in {server.url}\n", result.stderr
        assert client.execute_command("FUNCTION", "LIST") == []


def test_load_print() -> None:
    """What `load --print` writes is what redis-cli can load."""
    with running(DEFAULT) as server, server.client() as client:
        client.execute_command("FUNCTION", "LOAD", "REPLACE", run("load", "--print").stdout)
        assert client.execute_command("FCALL", "quest_version", 0)


def test_who_reads_has_seen_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the reader of the library goes, questd ends without a word."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # with it Python itself says nothing
    command = f"{sys.executable} -m questd load --print | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "#!lua name=quest\n", "")
