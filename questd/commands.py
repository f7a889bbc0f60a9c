"""Commands: what people ask a running server for, as `--help` teaches it: flags, an example each, and the exit status.

It must not know how a command does its work, nor anything of the server's own settings.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from questd import archive, exchange, imports, listing, mirror, upkeep
from questd.client import LOCAL, Client, Refused, connected, endpoint_of
from questd.peek import STATES
from questd.settings import ENDPOINT, BadSetting, hidden
from questd.terminal import Misused, Screen, unwritten

MORE = f"""\
A queue is a name or a URL. The server is that of --endpoint, else of the queue's URL, else of {ENDPOINT}, else
{LOCAL}. Requests are signed when AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set, for AWS_REGION.
On a terminal you see tables, in a pipe one JSON object a line. NO_COLOR=1 takes the colours away.
Exit status: 0 done, 1 not done (the reason is on standard error), 2 wrong usage, 130 ended by Ctrl-C.
"""

Asking = Callable[[Client, Screen, argparse.Namespace], Coroutine[Any, Any, None]]

Run = Callable[[Screen, argparse.Namespace], None]

Flag = tuple[tuple[str, ...], dict[str, Any]]
"""A flag or an argument: its names, and what argparse takes for it."""


class Command(NamedTuple):
    """A command: its name, how it runs, what its help teaches, and its flags."""

    name: str
    run: Run
    text: str
    flags: tuple[Flag, ...]


def _flag(*names: str, **how: Any) -> Flag:  # noqa: ANN401  # argparse's
    return names, how


def _asks(ask: Asking) -> Run:
    """Return how a command runs that asks one server."""

    async def connect(screen: Screen, options: argparse.Namespace) -> None:
        async with connected(endpoint_of(options.endpoint, getattr(options, "queue", ""))) as client:
            await ask(client, screen, options)

    return lambda screen, options: asyncio.run(connect(screen, options))


def _import(screen: Screen, options: argparse.Namespace) -> None:
    if options.queue is None:
        sys.stdout.write(imports.toml(Path(options.file)))
    else:
        _asks(archive.import_)(screen, options)


def number(text: str) -> int:
    """Return the number in a flag, which counts something."""
    if not re.fullmatch("0*[1-9][0-9]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"should be 1 or more, not {text!r}")
    return int(text)


QUEUE = _flag("queue", metavar="QUEUE", help="its name or URL")
CONTAINS = _flag("--contains", metavar="TEXT", default="", help="only those with this text in their body")
YES = _flag("--yes", action="store_true", help="do not ask")
ATTRIBUTE = _flag(
    "--attribute",
    metavar="NAME=VALUE",
    action="append",
    default=[],
    type=exchange.attribute,
    help="message attribute, or NAME:Type=VALUE; can be repeated",
)
GROUP = _flag("--group", metavar="ID", help="message group, for messages without one")

QUEUES = """\
List the queues: how many messages are visible, in flight and delayed, how old the oldest one is, and where dead letters
go.

  questd queues
  questd queues orders- --json | jq -r 'select(.Visible > 100) | .Queue'
"""

SEND = """\
Send a message, or with - one for each line of standard input, as they come.

  questd send orders 'two pizzas' --attribute size=large --attribute count:Number=2
  questd send --create orders.fifo 'first' --group table-7 --dedup order-1
  tail -F app.log | questd send logs -
"""

RECEIVE = """\
Receive messages, as a consumer does: they are hidden until their visibility timeout ends, or deleted with --delete.

  questd receive orders
  questd receive orders -n 100 --wait 20 --delete > orders.jsonl
"""

PEEK = """\
Show messages without receiving them: nothing is counted, hidden or moved. Needs questd as the server.

  questd peek orders
  questd peek orders-dead --contains '"customer": 7' -n 5 --json
  questd peek orders --state inflight --state delayed
"""

TAIL = """\
Show messages as they arrive, without receiving them, until Ctrl-C. One that is sent, received and deleted within 0.2
seconds may not be seen. Needs questd as the server.

  questd tail orders
  questd tail orders --contains error --json | tee errors.jsonl
"""

REDRIVE = """\
Move the messages of a dead-letter queue back to the queues they came from, and watch it. Ctrl-C ends the watching only.

  questd redrive orders-dead
  questd redrive orders-dead --to orders-retry --rate 10
"""

PURGE = """\
Delete all messages of a queue, those in flight and delayed too. It asks first; in a script say --yes.

  questd purge orders
  questd purge orders --yes
"""

PAUSE = """\
Pause a queue: it takes messages and hands none out until it is resumed. Needs questd as the server.

  questd pause orders
"""

RESUME = """\
Resume a paused queue: it hands messages out again. Needs questd as the server.

  questd resume orders
"""

EXPORT = """\
Write the messages of a queue to a file (- is standard output) as JSON Lines: bodies, attributes, groups and
deduplication ids. The queue stays as it is, and messages in flight and delayed are written too (needs questd as the
server). With --drain visible messages are received, and deleted when they have been written (any SQS server).

  questd export orders orders.jsonl
  questd export orders-dead - --drain | gzip > dead.jsonl.gz
"""

IMPORT = """\
Send the messages in a file (- is standard input): JSON Lines as export writes them, or as receive and peek show them;
a line of one's own needs no more than {"MessageBody": "…"}. A FIFO queue drops what it had in the last five minutes.

  questd import orders.jsonl orders
  gunzip < dead.jsonl.gz | questd import - orders.fifo --group recovered

Without a queue, print questd's own TOML for another server's configuration: ElasticMQ's (elasticmq.conf) or goaws'
(goaws.yaml). What cannot be carried over becomes a comment that says why. Needs: pip install 'questd[import]'.

  questd import elasticmq.conf > questd.toml
  questd check --config questd.toml
  questd serve --config questd.toml
"""

MIRROR = """\
Move the messages of a queue to another one, at any SQS servers. Each is deleted at the source once the target has it.
Should it be interrupted in between, a message can be in both. It signs as boto3 does: variables, profiles, roles.
Needs boto3: pip install 'questd[mirror]'.

  questd mirror https://sqs.eu-west-1.amazonaws.com/123456789012/orders orders --source-profile production
  questd mirror orders http://other-host:9324/000000000000/orders --follow
"""

COMMANDS = (
    Command(
        "queues",
        _asks(listing.queues),
        QUEUES,
        (_flag("prefix", metavar="PREFIX", nargs="?", default="", help="how their names begin"),),
    ),
    Command(
        "send",
        _asks(exchange.send),
        SEND,
        (
            QUEUE,
            _flag("body", metavar="BODY", help="text of the message; - for lines of standard input"),
            _flag("--create", action="store_true", help="make the queue if there is none"),
            _flag("--group", metavar="ID", help="message group"),
            _flag("--dedup", metavar="ID", help="deduplication id, in a FIFO queue"),
            _flag("--delay", metavar="SECONDS", type=int, help="time until it is visible, up to 900"),
            ATTRIBUTE,
        ),
    ),
    Command(
        "receive",
        _asks(exchange.receive),
        RECEIVE,
        (
            QUEUE,
            _flag("-n", "--number", metavar="N", type=number, default=1, help="messages at most, default 1"),
            _flag("--wait", metavar="SECONDS", type=int, default=0, help="wait for the first one, up to 20"),
            _flag(
                "--visibility", metavar="SECONDS", type=int, help="time that they are hidden, as the queue says if none"
            ),
            _flag("--delete", action="store_true", help="delete them once they are shown"),
        ),
    ),
    Command(
        "peek",
        _asks(exchange.peek),
        PEEK,
        (
            QUEUE,
            _flag("-n", "--number", metavar="N", type=number, default=20, help="messages at most, default 20"),
            _flag("--state", choices=STATES, action="append", help="only those; can be repeated"),
            CONTAINS,
        ),
    ),
    Command("tail", _asks(exchange.tail), TAIL, (QUEUE, CONTAINS)),
    Command(
        "redrive",
        _asks(upkeep.redrive),
        REDRIVE,
        (
            _flag("queue", metavar="DLQ", help="the dead-letter queue's name or URL"),
            _flag("--to", metavar="QUEUE", help="move them there instead"),
            _flag("--rate", metavar="N", type=number, help="messages a second at most"),
        ),
    ),
    Command("purge", _asks(upkeep.purge), PURGE, (QUEUE, YES)),
    Command("pause", _asks(upkeep.pause), PAUSE, (QUEUE,)),
    Command("resume", _asks(upkeep.resume), RESUME, (QUEUE,)),
    Command(
        "export",
        _asks(archive.export),
        EXPORT,
        (
            QUEUE,
            _flag("file", metavar="FILE", help="file to make; - for standard output"),
            _flag("--drain", action="store_true", help="receive the messages, and delete what has been written"),
        ),
    ),
    Command(
        "import",
        _import,
        IMPORT,
        (
            _flag("file", metavar="FILE", help="file to read; - for standard input"),
            _flag("queue", metavar="QUEUE", nargs="?", help="its name or URL; none: FILE is a configuration"),
            GROUP,
        ),
    ),
    Command(
        "mirror",
        mirror.mirror,
        MIRROR,
        (
            _flag("source", metavar="SOURCE", help="queue to empty, its name or URL"),
            _flag("target", metavar="TARGET", help="queue to fill, its name or URL"),
            GROUP,
            _flag("--follow", action="store_true", help="go on when the source is empty, until Ctrl-C"),
            _flag("--source-profile", metavar="NAME", help="profile of boto3's to ask the source with"),
            _flag("--target-profile", metavar="NAME", help="profile of boto3's to ask the target with"),
        ),
    ),
)


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the parser of each command; what it finds has the command as `asked`."""
    for command in COMMANDS:
        parser = commands.add_parser(
            command.name,
            help=command.text.partition(".")[0].partition(":")[0].replace("\n", " "),
            description=command.text,
            epilog=MORE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for names, how in command.flags:
            parser.add_argument(*names, **how)
        parser.add_argument("--endpoint", metavar="URL", help=f"the server, default {ENDPOINT} or {LOCAL}")
        parser.add_argument("--json", action="store_true", help="one JSON object a line, on a terminal too")
        parser.set_defaults(asked=command)


def run(command: Command, options: argparse.Namespace) -> int:
    """Run a command, and return the exit status: 0, 1 with one line on standard error, or 2 for wrong usage."""
    try:
        command.run(Screen(as_json=options.json), options)
    except Misused as error:
        sys.stderr.write(f"questd: {hidden(str(error))} (see questd {command.name} --help)\n")
        return 2
    except (Refused, BadSetting) as error:
        sys.stderr.write(f"questd: {hidden(str(error))}\n")
        return 1
    except OSError as error:
        return unwritten(error)
    return 0
