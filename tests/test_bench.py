"""The benchmark itself: that what it reports was done. Nothing here is timed, and no peer is fetched."""

import contextlib
import json
import shutil
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.bench import report
from tests.bench.__main__ import QUICK_DEPTH, benchmark, main, measure, parsed, start
from tests.bench.curve import curves, picture
from tests.bench.idle import MEASUREMENTS, Size
from tests.bench.loads import SCENARIOS, Figures, Scenario, check, fill, new_queue, run, wrk
from tests.bench.peers import PEERS, Kept, Peer, fetch
from tests.bench.results import Results, RoundsUnknown, saved
from tests.bench.servers import Refused, Server, questd

needs_wrk = pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is missing: apt-get install wrk")

SMALL = [replace(each, depth=min(each.depth, QUICK_DEPTH)) for each in SCENARIOS if not each.workers]
SMALL = [*{replace(each, name=""): each for each in SMALL}.values()]
"""Each load once, on a small queue."""

COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Run one questd for all loads."""
    with questd(1) as server:
        yield server


@needs_wrk
@pytest.mark.parametrize("scenario", SMALL, ids=lambda scenario: scenario.name)
def test_every_load_does_what_it_says(server: Server, scenario: Scenario) -> None:
    """Wrk's figures add up, nothing is refused, and what was sent is in the queue or was taken."""
    server.protocol = "json"
    url = new_queue(server, fifo=bool(scenario.groups))
    depth = fill(server, url, scenario.depth)
    server.protocol = scenario.protocol
    figures = wrk(scenario, server, url, 1)
    server.protocol = "json"
    assert (figures.refused, figures.lost) == (0, 0)
    assert figures.requests > 0
    check(scenario, figures)
    assert figures.deleted <= figures.received <= figures.sent + depth
    counts = server.ask("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": COUNTS})["Attributes"]
    # Requests that were on their way when the time was up are in one count and not in the other.
    assert abs(sum(map(int, counts.values())) - (figures.sent + depth - figures.deleted)) <= 10 * 32
    assert (figures.sent > 0) == (scenario.mode != "drain")
    assert (figures.deleted > 0) == (scenario.mode != "send")
    assert set(figures.cpu_us) == set(figures.resident) == {"questd", "redis"}
    assert figures.messages_per_second > 0


@needs_wrk
def test_a_load_that_is_refused(server: Server) -> None:
    """A server that answers with errors is not measured by them, however fast."""
    server.protocol = "json"
    with pytest.raises(Refused, match=r"of (\d+) requests \1 were refused"):
        wrk(SCENARIOS[1], server, server.url + "000000000000/none", 1)


@pytest.mark.parametrize(
    ("mode", "done", "right"),
    [
        *(("cycle", (1000, 990, 985), True), ("cycle", (1000, 500, 500), False), ("cycle", (1000, 1000, 500), False)),
        *(("batch", (1500, 1200, 1000), True), ("batch", (3000, 2000, 2000), False), ("send", (1000, 0, 0), True)),
        *(("drain", (0, 1000, 990), True), ("drain", (0, 1000, 500), False)),
    ],
)
def test_equal_parts(mode: str, done: tuple[int, int, int], right: bool) -> None:  # noqa: FBT001  # a case of the table
    """A load that is not what it says is no figure: what was sent was received and deleted, but for what was on its way."""
    figures = Figures(3000, 1, 1, 2, *done, refused=0, lost=0)
    with contextlib.nullcontext() if right else pytest.raises(Refused, match="not in equal parts"):
        check(Scenario("x", mode), figures)


@needs_wrk
def test_warming_up(server: Server) -> None:
    """Loads that do not count come first, on a queue of its own and on the one that was filled; both queues are gone."""
    before = server.ask("ListQueues", {}).get("QueueUrls", [])
    begun = time.monotonic()
    figures = run(replace(SCENARIOS[1], depth=80), server, 1, warm_up=1)
    assert time.monotonic() - begun >= 3
    assert figures.depth == 80
    assert server.ask("ListQueues", {}).get("QueueUrls", []) == before


def test_calming_down(server: Server) -> None:
    """Nothing is measured while the private Redis rewrites its append-only file."""
    new_queue(server)
    with redis.Redis(unix_socket_path=server.redis_socket) as client:
        client.config_set("rdb-key-save-delay", 100_000)  # µs that the rewriting takes for each key
        client.bgrewriteaof()
        client.config_set("rdb-key-save-delay", 0)
        assert client.info("persistence")["aof_rewrite_in_progress"]
        server.calm_down()
        assert not client.info("persistence")["aof_rewrite_in_progress"]


@pytest.mark.parametrize("protocol", ["json", "query"])
def test_filling(server: Server, protocol: str) -> None:
    """A FIFO queue is filled with messages of all groups, none of which counts as a repetition, in either protocol."""
    server.protocol = protocol
    url = new_queue(server, fifo=True)
    assert fill(server, url, 160, groups=7) == 160
    server.protocol = "json"
    counts = server.ask("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": COUNTS})["Attributes"]
    assert counts[COUNTS[0]] == "160"


def test_a_refusal(server: Server) -> None:
    """What a server refuses is said, by a question and while a queue is filled."""
    with pytest.raises(Refused, match="SendMessage: 400"):
        server.ask("SendMessage", {"QueueUrl": server.url + "000000000000/none", "MessageBody": "x"})
    with pytest.raises(Refused, match="a batch was refused"):
        fill(server, server.url + "000000000000/none", 10)


MEASURED = {
    "long polls": (
        *("% CPU of questd, long polls idle", "% CPU of Redis, long polls idle"),
        *("KiB per long poll", "ms to wake, p50", "ms to wake, p99"),
    ),
    "idle queues": ("% CPU of questd, queues idle", "% CPU of Redis, queues idle"),
    "start": ("s to start, with its own server", "s to start, Redis running"),
    "memory": (
        "bytes per message",
        "bytes per FIFO message, within the window",
        "bytes per FIFO message, after the window",
    ),
}


@pytest.mark.parametrize("name", sorted(MEASUREMENTS.keys() - {"start"}))
def test_what_idles(name: str) -> None:
    """Each measurement beside the loads gives its figures, which have goals; a message reaches exactly one long poll."""
    found = MEASUREMENTS[name](Size(polls=10, sends=10, queues=5, seconds=0.2, starts=1, messages=400, settle=0.1))
    assert set(found) == set(MEASURED[name])
    assert all(value >= 0 for value in found.values())
    assert set(found) <= {goal for goal, *_ in report.GOALS} | {"ms to wake, p50"}


@needs_wrk
def test_a_round(tmp_path: Path) -> None:
    """A round measures questd and the bare handler, and its figures can be read again; one more has the next number."""
    results = _results()
    for _ in range(2):
        measure(results, [replace(SCENARIOS[0], name="x")], [], warm=False, path=tmp_path / "figures.json")
    assert results.notes == []
    assert results.servers() == ["questd", "aiohttp"]
    assert [[each.turn for each in results.all_of(name)] for name in results.servers()] == [[1, 2], [1, 2]]
    handler = results.all_of("aiohttp")[0]
    assert (handler.refused, handler.lost, set(handler.cpu_us)) == (0, 0, {"aiohttp"})
    assert saved(tmp_path / "figures.json") == results


def test_more_rounds() -> None:
    """Rounds that are added to some loads only are told as from the least to the most."""
    results = _results()
    assert results.done() == "0"
    for turn, scenario in enumerate(("cycle", "send", "cycle"), 1):
        results.add(scenario, "questd", turn, _figures(10))
    assert results.done() == "1 to 2"
    results.add("send", "questd", 4, None)
    assert results.done() == "2"


def test_ratios_are_those_of_the_same_rounds(tmp_path: Path) -> None:
    """A peer that was measured in some rounds only is compared with what questd did in those, also from a file."""
    results = _results()
    for peer in "goaws", "fauxqs":  # the second one with --more, while the machine is four times as fast
        turn = results.next_turn()
        speed = 10 if peer == "goaws" else 40
        results.add("cycle", "questd", turn, _figures(2 * speed))
        results.add("cycle", peer, turn, _figures(speed))
    results.add("cycle", "goaws", results.next_turn(), None)
    results.save(tmp_path / "figures.json")
    for found in results, saved(tmp_path / "figures.json"):
        assert [found.ratio(("cycle", "questd"), ("cycle", peer)) for peer in ("goaws", "fauxqs")] == [2, 2]
        assert found.ratio(("cycle", "goaws"), ("cycle", "fauxqs")) is None
        assert found.next_turn() == 3


def test_figures_of_an_earlier_version(tmp_path: Path) -> None:
    """A file without the numbers of the rounds is read where they are plain; else it is told that they are not."""
    path = tmp_path / "figures.json"
    kept = asdict(_results()) | {"loads": {"cycle": {"questd": [_unnumbered(20), _unnumbered(60)]}}}
    kept["loads"]["cycle"]["goaws"] = [None, _unnumbered(20)]
    path.write_text(json.dumps(kept))
    assert saved(path).ratio(("cycle", "questd"), ("cycle", "goaws")) == 3
    assert saved(path).next_turn() == 3
    kept["loads"]["cycle"]["goaws"] = [_unnumbered(20)]
    path.write_text(json.dumps(kept))
    with pytest.raises(RoundsUnknown, match=r"figures.json was written by an earlier version.*'cycle'.*measure anew$"):
        saved(path)


@needs_wrk
@pytest.mark.parametrize("flag", ["--again", "--more"])
def test_figures_that_are_refused(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose rounds are not known ends the command with a line, before anything is measured or written."""
    path = tmp_path / "figures.json"
    monkeypatch.setattr("tests.bench.__main__.KEPT", path)
    monkeypatch.setattr(sys, "argv", ["bench", flag])
    loads = {"cycle": {"questd": [_unnumbered(1), _unnumbered(1)], "goaws": [_unnumbered(1)]}}
    path.write_text(json.dumps(asdict(_results()) | {"loads": loads}))
    before = path.read_text()
    assert main() == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert path.read_text() == before


def _unnumbered(requests: int) -> dict[str, Any]:
    figures = asdict(_figures(requests))
    del figures["turn"]
    return figures


def _results() -> Results:
    return Results("2 cores of X", {"questd": "0.1.0", "goaws": "v1"}, rounds=1, seconds=1)


def _figures(requests: int, depth: int = 0, protocol: str = "json", **cpu_us: float) -> Figures:
    resident = dict.fromkeys(cpu_us, 50_000_000)
    return Figures(requests, 1, 1, 2, 10, 10, 10, 0, 0, depth, dict(cpu_us), resident, protocol)


def _found() -> Results:
    results = _results()
    for turn in range(2):
        for scenario, depth in (("cycle", 0), ("cycle, 150 000 deep", 150_000), ("cycle, 1 000 000 deep", 1_000_000)):
            results.add(scenario, "questd", turn, _figures(20_000 * (turn + 1), depth, questd=30, redis=12))
            if depth < 1_000_000:
                figures = _figures(200 if depth else 20_000, depth, "query", goaws=50)
                results.add(scenario, "goaws", turn, figures if turn else None)
    results.facts = {"bytes per message": 260.0}
    results.note("goaws: it was slow")
    results.note("goaws: it was slow")
    return results


def test_the_tables() -> None:
    """The tables have medians, how many times as many requests questd answers, CPU, and which goals are missed."""
    lines = report.whole(_found()).splitlines()
    assert "| cycle | **30 000** | 20 000 (2.00×) |" in lines  # noqa: RUF001  # as it is printed
    assert "| cycle | 1.0 | 2.0 | 30 | 12 |" in lines
    assert "| cycle, times goaws | ≥ 1 | 2.00 | |" in lines
    assert "| bytes per message | ≤ 250 | 260.00 | missed |" in lines
    assert "| cycle | questd | 30 000 | 10 | 1.0 | 2.0 | 30 | 12 | 50 | json | 0 |" in lines
    assert [line for line in lines if line.startswith("Not measured")] == ["Not measured: goaws: it was slow"]
    assert "append-only file flushed every second" in lines[0]
    assert "goaws: asked in the Query protocol" in lines[0]


def test_a_table_is_whole() -> None:
    """All rows of a table have as many cells as its head."""
    for table in report.whole(_found()).split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_picture() -> None:
    """The picture has a curve for every server with two depths, and is well-formed."""
    found = _found()
    assert curves(found) == {
        "questd": [(0, 30_000), (150_000, 30_000), (1_000_000, 30_000)],
        "goaws": [(0, 20_000), (150_000, 200)],
    }
    root = ET.fromstring(picture(found))
    assert len(root.findall("{*}polyline")) == 2
    names = [text.text for text in root.findall("{*}text")]
    assert {"questd", "goaws", "1 000 000"} <= set(names)


def test_the_picture_of_nothing() -> None:
    """A run without depths has a picture all the same."""
    assert ET.fromstring(picture(_results())).findall("{*}polyline") == []


def test_the_readme(tmp_path: Path) -> None:
    """The figures go between their markers, again and again; a README without markers is left alone."""
    readme = tmp_path / "README.md"
    readme.write_text(f"# x\n\n{report.BEGIN}\n\nold\n\n{report.END}\n\nrest\n")
    for _ in range(2):
        report.into_readme(_found(), tmp_path)
    text = readme.read_text()
    assert text.startswith(f"# x\n\n{report.BEGIN}\n\n2 cores of X: questd 0.1.0, goaws v1. ")
    assert text.endswith(f"{report.END}\n\nrest\n")
    assert "old" not in text
    assert text.count(report.BEGIN) == 1
    assert (tmp_path / "docs" / "depth.svg").exists()
    readme.write_text("# x\n")
    with pytest.raises(ValueError, match="has no place for the figures"):
        report.into_readme(_found(), tmp_path)


def test_the_readme_of_this_project() -> None:
    """README.md has the place where the figures go."""
    text = (report.ROOT / "README.md").read_text()
    assert 0 < text.index(report.BEGIN) < text.index(report.END)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The help shows examples; peers and scenarios are known by name."""
    with pytest.raises(SystemExit):
        parsed(["--help"])
    assert 'make bench PEERS="elasticmq fauxqs goaws ministack"' in capsys.readouterr().out
    options = parsed(["--peers", "goaws", "fauxqs", "--scenario", "long polls", "--quick"])
    assert (options.peers, options.scenario, options.quick, options.rounds) == (
        ["goaws", "fauxqs"],
        ["long polls"],
        True,
        3,
    )
    assert parsed(["--peers"]).peers == []
    with pytest.raises(SystemExit):
        parsed(["--peers", "sqslite"])
    assert "sqslite" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given", [["--rounds", "0"], ["--seconds", "-1"], ["--quick", "--more"], ["--quick", "--readme"]]
)
def test_wrong_usage(given: list[str]) -> None:
    """What would measure nothing is refused, and what would put figures of small queues among others."""
    with pytest.raises(SystemExit):
        parsed(given)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep peers in a directory of the test."""
    monkeypatch.setattr("tests.bench.peers.CACHE", tmp_path)
    return tmp_path


def _peer(*fetch: tuple[str, ...], command: tuple[str, ...] = ("true",)) -> Peer:
    return Peer("p", fetch, command, ("version.txt", "p@"), {"x.conf": "port {port}"})


def test_a_peer_is_fetched_once(cache: Path) -> None:
    """What was fetched stays; its version is known."""
    peer = _peer(("sh", "-c", "test -e x.conf && echo p@1.2 >> version.txt"))
    fetch(peer)
    fetch(peer)
    assert (cache / "p" / "version.txt").read_text() == "p@1.2\n"
    assert peer.version() == "1.2"
    assert replace(peer, remark="quiet").version() == "1.2 (quiet)"


@pytest.mark.usefixtures("cache")
def test_a_peer_that_cannot_be_had() -> None:
    """It is left out and noted in one line, whether it cannot be fetched or does not start."""
    for peer, said in (
        (_peer(("sh", "-c", "echo first >&2; echo no network >&2; exit 1")), "no network"),
        (_peer(("no-such-program",)), "no-such-program is missing"),
        (_peer(command=("sh", "-c", "exit 3")), "it ended with 3"),
    ):
        results = _results()
        assert start([peer], results, contextlib.ExitStack()) == []
        [note] = results.notes
        assert said in note
        assert "\n" not in note


@pytest.mark.usefixtures("cache")
def test_a_peer_is_measured_as_questd_is() -> None:
    """A peer, here another questd, stands still between loads, and starts anew after one that went wrong."""
    command = (sys.executable, "-m", "questd", "serve", "--port", "{port}", "--ephemeral", "--workers", "1")
    kept = Kept(_peer(command=command))
    try:
        with kept.awake() as server:
            assert server.protocol == "json"
            assert fill(server, new_queue(server), 20) == 20
        _wait_until(lambda: {_state(pid) for pid in server.pids["p"]} == {"T"})
        with pytest.raises(Refused, match="NoSuchAction"), kept.awake() as again:
            again.ask("NoSuchAction", {})
        assert again is server
        with kept.awake() as another:
            assert another.url != server.url
    finally:
        kept.stop()
    _wait_until(lambda: not any(_state(pid) in "RSDT" for pid in another.pids["p"]))


def _wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _state(pid: int) -> str:
    """Return the state of a process as /proc has it, X when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def test_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run measures only what is asked for, and a quick one leaves what another has found as it is."""
    kept = tmp_path / "figures.json"
    monkeypatch.setattr("tests.bench.__main__.KEPT", kept)
    results = benchmark(parsed(["--quick", "--scenario", "start"]))
    assert not kept.exists()
    assert (results.loads, results.notes) == ({}, [])
    assert set(results.facts) == set(MEASURED["start"])
    assert {"questd", "Python", "aiohttp"} < set(results.programs)
    assert " cores of " in results.machine


def test_a_run_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run has found can be reported again."""
    kept = tmp_path / "figures.json"
    monkeypatch.setattr("tests.bench.__main__.KEPT", kept)
    monkeypatch.setattr("tests.bench.__main__.MEASUREMENTS", {"start": lambda _: {"start": 0.5}})
    assert benchmark(parsed(["--scenario", "start"])) == saved(kept)


def test_the_peers() -> None:
    """Four peers can be asked for, one of them as it comes, too."""
    assert [peer.name for peer in PEERS] == ["elasticmq", "fauxqs", "fauxqs-default", "goaws", "ministack"]
