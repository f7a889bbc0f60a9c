"""The command line: `questd serve`, `check`, `load`, `unload`, `backup`, `restore`, whose flags are fields of Settings.

It owns what users read when something is wrong: one line that begins with "questd:", and the exit status. What people
ask a running server for is in commands.py.
"""

import argparse
import asyncio
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic.fields import FieldInfo

from questd import (
    __version__,
    backup,
    checkup,
    commands,
    grants,
    library,
    loader,
    logs,
    scheme,
    settings,
    source,
    terminal,
    workers,
)
from questd.embedded import StartFailed
from questd.settings import BadSetting, Settings, hidden

log = logging.getLogger(__name__)

LOCAL_REDIS = "redis://127.0.0.1:6379"
"""Where load and unload look for a Redis when none is named, as redis-cli does."""

SERVE = """\
Serve the Amazon SQS protocol. Without --redis-url it starts a private Redis and keeps the messages in --data-dir.

  questd serve
  AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1 \\
    aws --endpoint-url http://127.0.0.1:9324 sqs create-queue --queue-name orders

SIGTERM and Ctrl-C end it; SIGHUP reads the settings again, SIGUSR2 replaces the workers, both without losing a request.
"""

LOAD = """\
Put the library "quest" into a Redis or Valkey, so that any Redis client can use queues, with or without questd.
Loading it again does no harm; an older one is replaced. Without --redis-url: redis://127.0.0.1:6379.

  questd load --redis-url redis://127.0.0.1:6379
  redis-cli FCALL sendMessage 1 orders hello
  questd load --print | redis-cli -x FUNCTION LOAD REPLACE
"""

UNLOAD = """\
Take the library "quest", and nothing else, out of a Redis or Valkey. Queues and messages stay.
Without --redis-url: redis://127.0.0.1:6379.

  questd unload --redis-url redis://127.0.0.1:6379
"""

BACKUP = """\
Write all that the private Redis holds to a file, while questd runs on its --data-dir and goes on.
The file is a snapshot of one moment in Redis's own format (RDB), readable by this user only.

  questd backup /backups/questd.rdb
"""

RESTORE = """\
Make a new --data-dir out of a backup, or of any snapshot of a Redis (RDB). Then start questd on it.

  questd restore /backups/questd.rdb --data-dir ~/restored
  questd serve --data-dir ~/restored
"""

SOURCES = "Each setting is taken from its flag, else its QUESTD_ variable, else the file that --config names."


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, *arguments: Any) -> tuple[Any, list[str]]:  # type: ignore[override]  # noqa: ANN401
        """Refuse what is not known here: argparse leaves it to the parser of all commands, whose help has no flags."""
        found, unknown = super().parse_known_args(*arguments)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"questd: {hidden(message)} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 0, 1 with one line on standard error, or 2 for wrong usage."""
    _have_streams()
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    command: Callable[[Settings, argparse.Namespace], None] | None = options.pop("command", None)
    if "asked" in options:
        return _interruptible(lambda: commands.run(options.pop("asked"), argparse.Namespace(**options)))
    if command is None:
        parser.print_help(sys.stderr)
        return 2
    for name in settings.unknown_variables():
        sys.stderr.write(f"questd: {name} is no setting, it is ignored\n")
    flags = {name: value for name, value in options.items() if name in Settings.model_fields}
    for name, instead in _exposed(flags):
        seen = f"{settings.flag(name)} can be seen by everybody on this machine"
        sys.stderr.write(f"questd: the secrets of {seen}: use {instead} or {settings.variable(name)}\n")
    return _interruptible(lambda: _on_this_machine(command, flags, options))


def _have_streams() -> None:
    """Have the standard streams that were closed, as `>&-` does, lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _interruptible(run: Callable[[], int]) -> int:
    try:
        return run()
    except KeyboardInterrupt:  # before serve, while load waits for Redis, or of a command that goes on for ever
        return 128 + signal.SIGINT


def _on_this_machine(
    command: Callable[[Settings, argparse.Namespace], None], flags: dict[str, Any], options: dict[str, Any]
) -> int:
    try:
        command(settings.read(flags), argparse.Namespace(**options, flags=flags))
    except (BadSetting, StartFailed) as refused:
        sys.stderr.write(f"questd: {hidden(str(refused))}\n")
        return 1
    return 0


def _exposed(flags: dict[str, str]) -> Iterable[tuple[str, str]]:
    """Yield the settings that have a secret on the command line, and what to use instead."""
    if "keys" in flags:
        yield "keys", "--keys-file"
    if hidden(url := flags.get("redis_url", "")) != url:
        yield "redis_url", "--config"


def _serve(read: Settings, options: argparse.Namespace) -> None:
    logs.configure(read)
    try:
        workers.run(read, lambda: settings.read(options.flags))
    except (BadSetting, StartFailed) as refused:
        if read.log_format == "text":
            raise
        log.critical("%s", hidden(str(refused)))  # nobody's mistake here
        raise SystemExit(1) from None


def _check(read: Settings, _options: argparse.Namespace) -> None:
    sound = True
    for finding in checkup.findings(read):
        _print(f"{finding}\n")
        sound = sound and finding.verdict != checkup.WRONG
    if not sound:
        raise StartFailed("serve would not start so")


def _load(read: Settings, options: argparse.Namespace) -> None:
    if options.print:
        _print(source.text(test_mode=read.test_mode))
        return
    _on_redis(read, lambda url: grants.load(url, test_mode=read.test_mode), "the library is loaded into")


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise SystemExit(terminal.unwritten(error)) from None


def _unload(read: Settings, options: argparse.Namespace) -> None:
    _on_redis(read, lambda url: library.unload(url, force=options.force), "no library any more in")


def _backup(read: Settings, options: argparse.Namespace) -> None:
    if read.redis_url:
        raise StartFailed("the messages are in a Redis of your own, which redis-cli --rdb FILE backs up")
    backup.take(read.data_dir, options.file, _tell)
    _print(f"questd: all that is in {read.data_dir} was written to {options.file}\n")


def _restore(read: Settings, options: argparse.Namespace) -> None:
    backup.restore(options.file, read.data_dir)
    _print(f"questd: restored, start it with: questd serve --data-dir {shlex.quote(str(read.data_dir))}\n")


def _tell(progress: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rquestd: {progress} \r")


def _on_redis(read: Settings, act: Callable[[str], Coroutine[Any, Any, None]], done: str) -> None:
    url = read.redis_url or LOCAL_REDIS
    try:
        asyncio.run(scheme.checked(act(url), url))
    except loader.REFUSALS as error:
        raise StartFailed(loader.explained(error, url)) from None
    _print(f"questd: {done} {hidden(url)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("questd", description="A message-queue server that speaks the Amazon SQS protocol on Redis.")
    parser.add_argument("--version", action="version", version=f"questd {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    _command(subparsers, _serve, SERVE, Settings.model_fields)
    _command(subparsers, _check, checkup.HELP, Settings.model_fields)
    load = _command(subparsers, _load, LOAD, ("config", "redis_url", "test_mode"))
    load.add_argument("--print", action="store_true", help="write the library to standard output instead")
    unload = _command(subparsers, _unload, UNLOAD, ("config", "redis_url"))
    unload.add_argument("--force", action="store_true", help="also while a questd uses that Redis")
    _command(subparsers, _backup, BACKUP, ("config", "data_dir")).add_argument("file", metavar="FILE", type=Path)
    _command(subparsers, _restore, RESTORE, ("config", "data_dir")).add_argument("file", metavar="FILE", type=Path)
    commands.add_to(subparsers)
    return parser


def _command(
    subparsers: "argparse._SubParsersAction[_Parser]",
    run: Callable[[Settings, argparse.Namespace], None],
    text: str,
    names: Iterable[str],
) -> _Parser:
    parser = subparsers.add_parser(
        run.__name__.strip("_"),
        help=text.partition(".")[0],
        description=text,
        epilog=SOURCES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name in names:
        _add_flag(parser, name, Settings.model_fields[name])
    parser.set_defaults(command=run)
    return parser


def _add_flag(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    default = field.get_default(call_default_factory=True, validated_data={})
    shown = "" if default is None or default is False else f", default {default}"
    text = f"{field.description} [{settings.variable(name)}{shown}]".replace("%", "%%")
    if field.annotation is bool:
        action = argparse.BooleanOptionalAction
        parser.add_argument(settings.flag(name), action=action, help=text, default=argparse.SUPPRESS)
    else:
        metavar = name.rpartition("_")[2].upper()
        parser.add_argument(settings.flag(name), metavar=metavar, help=text, default=argparse.SUPPRESS)


if __name__ == "__main__":
    sys.exit(main())
