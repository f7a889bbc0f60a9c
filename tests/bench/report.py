"""What a run found, as Markdown: the tables that are printed, and the section of the README."""

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench.curve import picture
from tests.bench.results import Results

ROOT = Path(__file__).parents[2]
PICTURE = Path("docs/depth.svg")
BEGIN, END = "<!-- figures: `make bench README=yes` writes them -->", "<!-- end of the figures -->"
COLUMNS = (
    "load",
    "server",
    "requests/s",
    "messages/s",
    "p50 ms",
    "p99 ms",
    "µs of CPU",
    "of Redis",
    "MB",
    "protocol",
    "refused",
)
Goal = tuple[str, Callable[[Results], float | None], str, float]


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with its thousands apart; nothing for none."""
    return "" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def table(rows: Iterable[Iterable[str]]) -> str:
    """Write rows, the first of which is the head, as a Markdown table; the first column is text."""
    head, *rest = ([*row] for row in rows)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rest]
    return "\n".join(f"| {' | '.join(row)} |".replace("  |", " |") for row in lines)


def speeds(results: Results) -> str:
    """Return requests a second of each server under each load, and how many times as many questd answers."""
    servers = results.servers()
    rows = [["requests/s", *(f"**{name}**" if name == "questd" else name for name in servers)]]
    rows += [[load, *(_speed(results, load, name) for name in servers)] for load in results.loads]
    return table(rows)


def _speed(results: Results, load: str, server: str) -> str:
    speed = number(results.speed(load, server))
    ratio = results.ratio((load, "questd"), (load, server))
    return f"**{speed}**" if server == "questd" else f"{speed} ({number(ratio, 2)}×)" if speed and ratio else speed  # noqa: RUF001  # meant so


def costs(results: Results) -> str:
    """Return how long questd takes under each load, and the CPU that a request costs it and its Redis."""
    rows = [["questd", "p50 ms", "p99 ms", "µs of CPU a request", "µs of Redis a request"]]
    for load, servers in results.loads.items():
        if "questd" in servers:
            found = [
                results.of(load, "questd", lambda each: each.p50_ms),
                results.of(load, "questd", lambda each: each.p99_ms),
            ]
            used = [results.of(load, "questd", lambda each, of=kind: each.cpu_us[of]) for kind in ("questd", "redis")]  # type: ignore[misc]
            rows.append([load, *(number(each, 1) for each in found), *(number(each) for each in used)])
    return table(rows)


def facts(results: Results) -> str:
    """Return what was found beside the loads."""
    return table([["what else", "here"], *([name, number(value, 1)] for name, value in _facts(results).items())])


def _facts(results: Results) -> dict[str, float]:
    resident = _resident(results)
    return results.facts | ({"MB of memory, a worker after the loads": resident} if resident else {})


def _resident(results: Results) -> float | None:
    return max((each.resident["questd"] / 1e6 for each in results.all_of("questd")), default=None)


def details(results: Results) -> str:
    """Return a row for every load and server."""
    rows = [list(COLUMNS)]
    for load, servers in results.loads.items():
        for server, rounds in servers.items():
            if found := [each for each in rounds if each]:
                kind = next(iter(found[0].cpu_us))
                medians = [
                    (results.speed(load, server), 0),
                    (results.of(load, server, lambda each: each.messages_per_second), 0),
                    (results.of(load, server, lambda each: each.p50_ms), 1),
                    (results.of(load, server, lambda each: each.p99_ms), 1),
                    (results.of(load, server, lambda each, of=kind: each.cpu_us[of]), 0),  # type: ignore[misc]
                    (results.of(load, server, lambda each: each.cpu_us["redis"]) if server == "questd" else None, 0),
                    (results.of(load, server, lambda each, of=kind: each.resident[of] / 1e6), 0),  # type: ignore[misc]
                ]
                refused = sum(each.refused + each.lost for each in found)
                rows.append([load, server, *(number(*each) for each in medians), found[0].protocol, number(refused)])
    return table(rows)


def _against(load: str, server: str, other: str | None = None) -> Callable[[Results], float | None]:
    return lambda results: results.ratio((load, "questd"), (other or load, server))


def _fact(name: str) -> Callable[[Results], float | None]:
    return lambda results: results.facts.get(name)


DEEP, DEEPER = "cycle, 150 000 deep", "cycle, 1 000 000 deep"
GOALS: tuple[Goal, ...] = (
    ("one worker, times the bare aiohttp handler", _against("cycle, one worker", "aiohttp"), "≥", 1.0),
    ("cycle, times goaws", _against("cycle", "goaws"), "≥", 1.0),
    ("cycle, times ElasticMQ", _against("cycle", "elasticmq"), "≥", 2.5),
    ("cycle, times fauxqs", _against("cycle", "fauxqs"), "≥", 2.5),
    ("cycle, times fauxqs as it comes", _against("cycle", "fauxqs-default"), "≥", 2.5),
    ("cycle 1 000 000 deep, times the short queue", _against(DEEPER, "questd", "cycle"), "≥", 0.95),
    ("cycle 1 000 000 deep, times goaws 150 000 deep", _against(DEEPER, "goaws", DEEP), "≥", 20),
    ("batches of 10, times fauxqs", _against("batches of 10", "fauxqs"), "≥", 2.2),
    ("batches of 10, times fauxqs as it comes", _against("batches of 10", "fauxqs-default"), "≥", 2.2),
    ("batches of 10, times ElasticMQ", _against("batches of 10", "elasticmq"), "≥", 2.5),
    *(
        (name, _fact(name), "≤", limit)
        for name, limit in {
            "bytes per message": 250,
            "bytes per FIFO message, within the window": 450,
            "bytes per FIFO message, after the window": 300,
            "% CPU of questd, long polls idle": 1,
            "% CPU of Redis, long polls idle": 1,
            "KiB per long poll": 40,
            "ms to wake, p99": 10,
            "% CPU of questd, queues idle": 1,
            "% CPU of Redis, queues idle": 1,
            "s to start, Redis running": 0.8,
            "s to start, with its own server": 1.2,
        }.items()
    ),
    ("MB of memory, a worker after the loads", _resident, "≤", 70),
)


def goals(results: Results) -> str:
    """Return what is wanted beside what was found."""
    rows = [["goal", "wanted", "here", ""]]
    for name, found, relation, limit in GOALS:
        if (here := found(results)) is not None:
            met = here >= limit if relation == "≥" else here <= limit
            rows.append([name, f"{relation} {limit:g}", number(here, 2), "" if met else "missed"])
    return table(rows)


def conditions(results: Results) -> str:
    """Say on what and how it was measured."""
    programs = ", ".join(f"{name} {version}".strip() for name, version in results.programs.items())
    query = {
        name
        for name in results.servers()
        for each in results.all_of(name)
        if each.protocol == "query" and name != "questd"
    }
    spoken = f" {', '.join(sorted(query))}: asked in the Query protocol, which is all it speaks." if query else ""
    return (
        f"{results.machine}: {programs}. The load (wrk, 32 connections, bodies of 100 bytes) runs on the same machine. questd "
        f"keeps its messages in its own server, with an append-only file flushed every second; the others keep them in memory. "
        "Once a queue is filled, it is used for a while, and the load waits until that file is not being rewritten. "
        f"Medians of rounds ({results.done()}) of {results.seconds} s, one server after the other; in brackets, how many times "
        f"as many requests questd answers. aiohttp: a bare handler without a queue.{spoken}"
    )


def whole(results: Results) -> str:
    """Return all that was found, as it is printed."""
    notes = "".join(f"Not measured: {note}\n" for note in results.notes)
    parts = [
        conditions(results),
        speeds(results),
        costs(results),
        facts(results),
        goals(results),
        details(results),
        notes,
    ]
    return "\n\n".join(parts).strip() + "\n"


def section(results: Results) -> str:
    """Return the figures as the README has them, between their markers."""
    shown = f"![Requests a second over the depth of the queue]({PICTURE})"
    return "\n\n".join([BEGIN, conditions(results), speeds(results), shown, costs(results), facts(results), END])


def into_readme(results: Results, root: Path = ROOT) -> None:
    """Write the figures into the README, and the picture beside it."""
    put(root / "README.md", BEGIN, END, section(results))
    (root / PICTURE).parent.mkdir(exist_ok=True)
    (root / PICTURE).write_text(picture(results))


def put(readme: Path, begin: str, end: str, section: str) -> None:
    """Write a section into a README, in the place of what is between two markers, and of these."""
    before, found, rest = readme.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{readme} has no place for the figures: {begin} … {end}")
    readme.write_text(before + section + after)
